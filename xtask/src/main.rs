//! `cargo xtask`: everything a developer or a script needs, each command idempotent and setting up what it
//! lacks.

mod bench;
mod bench_cpu;
mod cuda;
mod goldens;
mod parity;
mod release;
mod serve;
mod shell;
mod site;
mod test;
mod thin;
mod tools;
mod wasm_order;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of Adire")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything in release and serve the studio on 127.0.0.1:3000.
    Serve(serve::ServeArgs),
    /// Build one program in release that carries the page.
    Build(serve::BuildArgs),
    /// Make an archive of the program, the starter model, all licences and an SBOM.
    Release(release::ReleaseArgs),
    /// Write the licences and the SBOM of the program into a folder, without building it.
    Licenses(release::LicensesArgs),
    /// Build the page alone (wasm, JS, CSS) into the target folder's site/.
    Web,
    /// Run every test, or only the named parts.
    Test(test::TestArgs),
    /// Measure: `web` (transfer, requests, first paint, overhead).
    Bench(bench::BenchArgs),
    /// Compile for NVIDIA GPUs, or bundle what a GPU host needs to test and measure the program.
    Cuda(cuda::CudaArgs),
    /// Regenerate the reference tensors with diffusers and PEFT (Python, on demand).
    Goldens,
    /// Compare with diffusers and PEFT on models of random weights, module by module and image by image.
    Parity(parity::ParityArgs),
}

fn main() {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::serve(&args),
        Command::Build(args) => serve::build_whole(&args).map(drop),
        Command::Release(args) => release::release(&args),
        Command::Licenses(args) => release::licenses(&args),
        Command::Web => site::build().map(drop),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Cuda(args) => cuda::run(&args),
        Command::Goldens => goldens::run(),
        Command::Parity(args) => parity::run(&args),
    };
    if let Err(error) = result {
        eprintln!("xtask: {error:#}");
        std::process::exit(1);
    }
}
