//! Links the kernels of `cargo xtask cuda kernels` behind the feature `cuda`: `libadire_cuda.a`, and CUDA's static runtime
//! where it lies beside that.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-env-changed=ADIRE_CUDA_KERNELS");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let Some(folder) = env::var_os("ADIRE_CUDA_KERNELS").filter(|folder| !folder.is_empty()) else {
        // Checks and lints of all features link nothing.
        println!(
            "cargo::warning=ADIRE_CUDA_KERNELS names no folder; make one with `cargo xtask cuda kernels`"
        );
        return;
    };
    let folder = Path::new(&folder);
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rustc-link-lib=static=adire_cuda");
    if folder.join("libcudart_static.a").is_file() {
        println!("cargo::rustc-link-lib=static=cudart_static");
    }
    for library in ["stdc++", "dl", "rt", "pthread"] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}
