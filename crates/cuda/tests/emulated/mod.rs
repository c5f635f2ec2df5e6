//! The kernels on the CPU: compiled by g++ with the emulator, and loaded.

pub(crate) mod abi;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Where the emulated library lies; compiled unless the same sources have been. Needs g++ (`CXX` names another one).
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new("kernels");
        let mut sources: Vec<PathBuf> = files(folder);
        sources.sort();
        let mut hasher = DefaultHasher::new();
        for source in &sources {
            source.file_name().hash(&mut hasher);
            fs::read(source).expect("kernels can be read").hash(&mut hasher);
        }
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = kept.join(format!("adire_emulated_{:016x}.so", hasher.finish()));
        if !library.exists() {
            compile(&sources, folder, kept, &library);
        }
        library
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the kernels").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn compile(sources: &[PathBuf], folder: &Path, kept: &Path, library: &Path) {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
    // Several test programs may compile at once.
    let id = std::process::id();
    let (unit, made) = (kept.join(format!("emulated_{id}.cpp")), kept.join(format!("emulated_{id}.so")));
    // What talks to the device, and what CUTLASS computes, is not emulated.
    let wanted = sources.iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.ends_with(".cu") && name != "device.cu" && !name.starts_with("cutlass"))
            || name == "emulate.cpp"
    });
    let mut objects = Vec::new();
    for source in wanted {
        let object = kept.join(format!("emulated_{id}_{}.o", objects.len()));
        let flags = ["-std=c++17", "-O1", "-fPIC", "-DADIRE_EMULATE", "-U_FORTIFY_SOURCE", "-x", "c++", "-c"];
        let warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"];
        let mut command = Command::new(&compiler);
        command.args(flags).args(warnings).arg("-I").arg(folder).arg(source).arg("-o").arg(&object);
        run(command);
        objects.push(object);
    }
    let mut command = Command::new(&compiler);
    command.args(["-shared", "-o"]).arg(&made).args(&objects);
    run(command);
    fs::rename(&made, library).expect("the library can be renamed");
    for file in objects.iter().chain([&unit]) {
        let _ = fs::remove_file(file);
    }
}

fn run(mut command: Command) {
    let status = command.status().expect("g++ can be started (Debian: build-essential)");
    assert!(status.success(), "{command:?} failed");
}

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

/// The address of a function of the library.
pub(crate) fn symbol(name: &str) -> *mut c_void {
    static HANDLE: OnceLock<usize> = OnceLock::new();
    const RTLD_NOW: c_int = 2;
    // SAFETY: texts end with zero; the library has no constructors but those of a few thread-local variables.
    unsafe {
        let handle = *HANDLE.get_or_init(|| {
            let path = CString::new(library().as_os_str().as_encoded_bytes()).expect("a path without zeros");
            let handle = dlopen(path.as_ptr(), RTLD_NOW);
            assert!(!handle.is_null(), "{}", CStr::from_ptr(dlerror()).to_string_lossy());
            handle as usize
        });
        let name = CString::new(name).expect("a name without zeros");
        let found = dlsym(handle as *mut c_void, name.as_ptr());
        assert!(!found.is_null(), "{name:?} is missing in the library");
        found
    }
}
