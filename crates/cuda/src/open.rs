//! Opening a GPU, or saying why not.

use std::sync::Arc;

use adire_kernels::{Activation, Layout};

use crate::{Element, Error, Kernel, Matrix, Result, Runtime, View};

/// The GPU of this number, from 0, after a small product whose result is known.
///
/// # Errors
/// [`Error::NotBuilt`], [`Error::Unusable`], [`Error::NoSuchDevice`] or [`Error::OutOfMemory`]: why it cannot be used.
pub fn open(index: usize) -> Result<Arc<dyn Runtime>> {
    let runtime = open_untried(index)?;
    match try_out(&*runtime) {
        Err(Error::Failed(message)) => {
            let name = &runtime.info().name;
            let message = format!(
                "{name} computes nothing ({message}); this program has no kernels for it, or its driver fails"
            );
            Err(Error::Unusable(message))
        }
        tried => tried.map(|()| runtime),
    }
}

#[cfg(feature = "cuda")]
fn open_untried(index: usize) -> Result<Arc<dyn Runtime>> {
    Ok(Arc::new(crate::cuda::Cuda::open(index)?))
}

#[cfg(not(feature = "cuda"))]
fn open_untried(_: usize) -> Result<Arc<dyn Runtime>> {
    Err(Error::NotBuilt)
}

/// 16 times 2 · 2 in f16, once as it is and once as a graph.
fn try_out(runtime: &dyn Runtime) -> Result<()> {
    let (side, element) = (16, Element::F16);
    let memory = runtime.allocate(2 * side * side * element.bytes())?;
    let half = memory.bytes() / 2;
    let (x, values) = (memory.span(0..half)?, memory.span(half..2 * half)?);
    let result = runtime.allocate(half)?;
    let twos = element.encode(&vec![2.0; side * side]);
    runtime.upload(&twos, &x)?;
    runtime.upload(&twos, &values)?;
    let layout = Layout::tokens(1, side, side);
    let kernel = Kernel::Linear {
        x: View::of(&x, element, layout)?,
        matrix: Matrix { values, element, outputs: side, inputs: side, kernel: 1, gated: false },
        bias: None,
        activation: Activation::Identity,
        residual: None,
        y: View::of(&result.whole(), element, layout)?,
    };
    let check = || {
        let mut bytes = vec![0; half];
        runtime.download(&result.whole(), &mut bytes)?;
        match element.decode(&bytes).into_iter().find(|value| *value != 64.0) {
            None => Ok(()),
            Some(other) => Err(Error::Failed(format!("a product that is 64 came out as {other}"))),
        }
    };
    runtime.launch(&kernel)?;
    check()?;
    runtime.upload(&element.encode(&vec![0.0; side * side]), &result.whole())?;
    let graph = runtime.record(&mut || runtime.launch(&kernel))?;
    runtime.replay(&graph)?;
    check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fake;

    #[test]
    fn a_gpu_is_tried_out() {
        let fake = Fake::default();
        try_out(&fake).unwrap();
        assert_eq!((fake.counts().replays, fake.used()), (1, 0));
        assert!(matches!(try_out(&Fake::with_memory(100)), Err(Error::OutOfMemory { .. })));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_program_without_gpu_support_says_so() {
        let message = open(0).unwrap_err().to_string();
        assert!(
            message.contains("built without GPU support") && message.contains("--features cuda"),
            "{message}"
        );
    }
}
