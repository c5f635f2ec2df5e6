//! Six instructions of AMX, interpreted in the handler of the signal that they raise where the processor has none.

use std::cell::UnsafeCell;
use std::sync::Once;

use half::bf16;

/// A thread's tiles.
struct Tiles {
    shapes: [u8; 64],
    data: [[u8; 1024]; 8],
}

impl Tiles {
    fn rows(&self, tile: usize) -> usize {
        usize::from(self.shapes[48 + tile])
    }

    fn bytes(&self, tile: usize) -> usize {
        usize::from(u16::from_le_bytes([self.shapes[16 + 2 * tile], self.shapes[17 + 2 * tile]]))
    }

    fn word<const N: usize>(&self, tile: usize, at: usize) -> [u8; N] {
        self.data[tile][at..at + N].try_into().unwrap_or([0; N])
    }

    /// Sums of products; what is below the smallest normal number counts as zero.
    fn multiply(&mut self, c: usize, a: usize, b: usize) {
        let half = |tiles: &Self, tile: usize, at: usize| {
            let x = bf16::from_le_bytes(tiles.word(tile, at)).to_f32();
            if x.is_subnormal() { 0.0 } else { x }
        };
        for m in 0..self.rows(c) {
            for k in 0..self.bytes(a) / 4 {
                for n in 0..self.bytes(c) / 4 {
                    let at = 64 * m + 4 * n;
                    let mut sum = f32::from_le_bytes(self.word(c, at));
                    for e in 0..2 {
                        sum += half(self, a, 64 * m + 4 * k + 2 * e) * half(self, b, 64 * k + 4 * n + 2 * e);
                    }
                    self.data[c][at..at + 4].copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
    }
}

thread_local! {
    static TILES: UnsafeCell<Tiles> = const { UnsafeCell::new(Tiles { shapes: [0; 64], data: [[0; 1024]; 8] }) };
}

/// Where the kernel keeps the registers, in the order of their numbers in instructions.
const REGISTERS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Installs the handler; once is enough for all threads.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: an action of zeros is one; the handler has the type that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction =
                handle as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut());
        }
    });
}

extern "C" fn handle(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the thread's context; the instruction there could not be executed, so that nothing has
    // happened yet. What it addresses is what the program meant to address.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as *const u8;
        if let Some(length) = TILES.with(|tiles| interpret(&mut *tiles.get(), at, registers)) {
            registers[libc::REG_RIP as usize] += length as i64;
        } else {
            // Not one of ours: it is raised again, and ends the process.
            libc::signal(libc::SIGILL, libc::SIG_DFL);
        }
    }
}

/// Executes the instruction at `at`; its length, or nothing if it is another.
unsafe fn interpret(tiles: &mut Tiles, at: *const u8, registers: &[i64]) -> Option<usize> {
    let mut next = 0;
    // SAFETY: bytes of an instruction.
    let mut byte = || unsafe {
        next += 1;
        *at.add(next - 1)
    };
    // VEX with three bytes, map 2.
    let (vex, one, two, operation, mode) = (byte(), byte(), byte(), byte(), byte());
    if vex != 0xC4 || one & 0x1F != 2 {
        return None;
    }
    let (index_high, base_high) = ((!one >> 6 & 1) << 3, (!one >> 5 & 1) << 3);
    let (second, prefix) = (usize::from(!two >> 3 & 15), two & 3);
    let (kind, register, base) = (mode >> 6, usize::from(mode >> 3 & 7), mode & 7);
    let value = |number: u8| registers[REGISTERS[usize::from(number)] as usize] as usize;
    let (mut address, mut stride) = (0, 0);
    if kind != 3 {
        if base == 4 {
            let scaled = byte();
            let index = (scaled >> 3 & 7) | index_high;
            if index != 4 {
                stride = value(index) << (scaled >> 6);
            }
            if scaled & 7 == 5 && kind == 0 {
                return None;
            }
            address = value((scaled & 7) | base_high);
        } else if base == 5 && kind == 0 {
            return None;
        } else {
            address = value(base | base_high);
        }
        if kind == 1 {
            address = address.wrapping_add_signed(isize::from(byte() as i8));
        } else if kind == 2 {
            let offset = i32::from_le_bytes([byte(), byte(), byte(), byte()]);
            address = address.wrapping_add_signed(offset as isize);
        }
    }
    // SAFETY: what the instruction would read and write.
    unsafe {
        match (operation, prefix, kind) {
            (0x49, 0, 3) => tiles.shapes = [0; 64],
            (0x49, 0, _) => {
                std::ptr::copy_nonoverlapping(address as *const u8, tiles.shapes.as_mut_ptr(), 64);
                tiles.data = [[0; 1024]; 8];
            }
            (0x49, 3, 3) => tiles.data[register] = [0; 1024],
            (0x4B, 3, _) => {
                tiles.data[register] = [0; 1024];
                for row in 0..tiles.rows(register) {
                    let to = tiles.data[register].as_mut_ptr().add(64 * row);
                    std::ptr::copy_nonoverlapping(
                        (address + row * stride) as *const u8,
                        to,
                        tiles.bytes(register),
                    );
                }
            }
            (0x4B, 2, _) => {
                for row in 0..tiles.rows(register) {
                    let from = tiles.data[register].as_ptr().add(64 * row);
                    std::ptr::copy_nonoverlapping(
                        from,
                        (address + row * stride) as *mut u8,
                        tiles.bytes(register),
                    );
                }
            }
            (0x5C, 2, 3) => tiles.multiply(register, usize::from(base), second),
            _ => return None,
        }
    }
    Some(next)
}
