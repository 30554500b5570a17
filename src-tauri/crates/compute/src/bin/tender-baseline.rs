//! The kernels with nothing around them, for `tender bench generate`: no sandbox, no pipe, no hashing. It takes no
//! input of anybody, and no installation has it.
//!
//! `tender-baseline WORK` makes an input for the work (JSON) and does it once for every line on the standard input.

use std::{
    io::{self, BufRead as _, Write as _},
    process::ExitCode,
};
use tender_base::Work;
use tender_compute::{Error, Gpu, Output, gemm, kernels::Kernels, matmul::Matmul, measure};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tender-baseline: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let work = std::env::args().nth(1).ok_or("usage: tender-baseline WORK")?;
    let work: Work = serde_json::from_str(&work).map_err(|e| format!("the work is not understood: {e}"))?;
    let words = |e: Error| e.to_string();
    let gpu = Gpu::open().map_err(words)?;
    let (matmul, mut kernels) = (Matmul::new(&gpu), Kernels::default());
    let mut once: Box<dyn FnMut() -> Result<Output, Error>> = match work {
        Work::Gemm { m, k, n, precision } => {
            let count = u64::from(m) * u64::from(k) + u64::from(k) * u64::from(n);
            let bytes = count * precision.bytes();
            let input = measure::floats((bytes / 4) as usize, 1);
            Box::new(move || gemm::run(&gpu, &matmul, precision, (m, k, n), &input, &mut |_, _| {}))
        }
        Work::Kernel(work) => {
            let input = measure::input(&work);
            Box::new(move || kernels.run(&gpu, &work, &input, None, &mut |_, _| {}))
        }
        other => return Err(format!("{} work is not compared", other.kind().name())),
    };
    for line in io::stdin().lock().lines() {
        line.map_err(|e| e.to_string())?;
        let done = once().map_err(words)?;
        println!("{}", done.units);
        io::stdout().flush().map_err(|e| e.to_string())?;
    }
    Ok(())
}
