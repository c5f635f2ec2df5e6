//! Collecting a plan: buffers, parameters and operations as the models name them.

use adire_kernels::Dtype;

use super::{
    op::{Buffer, MatrixSpec, Norm, Op, Plan, Stage, Step, VectorSpec, View},
    place,
};
use crate::{Parameter, ops::Activation};

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Builder {
    buffers: Vec<Buffer>,
    matrices: Vec<MatrixSpec>,
    vectors: Vec<VectorSpec>,
    prompt: Vec<Step>,
    time: Vec<Step>,
    step: Vec<Step>,
    /// Of what products, convolutions and attention read.
    operands: Dtype,
    /// Images of every buffer.
    images: usize,
    /// Images that differ so far; fewer than `images` until [`Self::split`].
    different: usize,
    /// Where in the step stage [`Self::split`] was called.
    split: Option<usize>,
}

impl Builder {
    /// `images` in a batch, of which the first `different` differ until [`Self::split`]; `operands` is the type of what
    /// products, convolutions and attention read.
    pub(super) fn new(operands: Dtype, images: usize, different: usize) -> Self {
        Self {
            operands,
            buffers: Vec::new(),
            matrices: Vec::new(),
            vectors: Vec::new(),
            prompt: Vec::new(),
            time: Vec::new(),
            step: Vec::new(),
            images,
            different,
            split: None,
        }
    }

    /// A buffer of `(height, width)` pixels for every image: sums, and what norms and residuals read.
    pub(super) fn buffer(&mut self, size: (usize, usize), channels: usize, border: usize) -> View {
        let (images, dtype, kept) = (self.images, Dtype::F32, false);
        self.add(Buffer { images, height: size.0, width: size.1, channels, border, dtype, kept })
    }

    /// A buffer that nothing but products, convolutions and attention read.
    pub(super) fn operand(&mut self, size: (usize, usize), channels: usize, border: usize) -> View {
        let view = self.buffer(size, channels, border);
        self.buffers[view.buffer].dtype = self.operands;
        view
    }

    /// An operand that keeps its values between runs.
    pub(super) fn kept_operand(&mut self, images: usize, size: (usize, usize), channels: usize) -> View {
        let view = self.kept(images, size, channels, 0);
        self.buffers[view.buffer].dtype = self.operands;
        view
    }

    /// The same values as an operand.
    pub(super) fn as_operand(&mut self, x: View) -> View {
        if self.buffers[x.buffer].dtype == self.operands {
            return x;
        }
        let y = self.operand(self.size(x), x.channels, 0);
        self.push(Op::Resize { x, y });
        y
    }

    /// The same values of every run as a kept operand, converted when the prompt changes.
    pub(super) fn as_prompt_operand(&mut self, x: View) -> View {
        if self.buffers[x.buffer].dtype == self.operands {
            return x;
        }
        let y = self.kept_operand(self.images, self.size(x), x.channels);
        self.push_to(Stage::Prompt, Op::Resize { x, y }, self.images);
        y
    }

    /// A buffer that keeps its values between runs.
    pub(super) fn kept(
        &mut self,
        images: usize,
        size: (usize, usize),
        channels: usize,
        border: usize,
    ) -> View {
        let dtype = Dtype::F32;
        self.add(Buffer { images, height: size.0, width: size.1, channels, border, dtype, kept: true })
    }

    fn add(&mut self, buffer: Buffer) -> View {
        self.buffers.push(buffer);
        View { buffer: self.buffers.len() - 1, channel: 0, channels: buffer.channels }
    }

    /// Height and width of a buffer.
    pub(super) fn size(&self, view: View) -> (usize, usize) {
        let buffer = &self.buffers[view.buffer];
        (buffer.height, buffer.width)
    }

    /// Images of a batch.
    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// All channels of a buffer that has grown.
    pub(super) fn whole(&self, view: View) -> View {
        View { channel: 0, channels: self.buffers[view.buffer].channels, ..view }
    }

    /// Makes a buffer wider, whose channels are counted along the way.
    pub(super) fn widen(&mut self, view: View, channels: usize) -> View {
        let buffer = &mut self.buffers[view.buffer];
        let part = View { buffer: view.buffer, channel: buffer.channels, channels };
        buffer.channels += channels;
        part
    }

    /// The weights of linear layers, one below the other.
    pub(super) fn linear(&mut self, parts: &[String], inputs: usize, outputs: usize) -> usize {
        let (parts, dtype) = (parts.to_vec(), Dtype::F32);
        self.matrices.push(MatrixSpec { parts, inputs, outputs, kernel: 1, gated: false, dtype });
        self.matrices.len() - 1
    }

    /// The weight of a linear layer with gates.
    pub(super) fn gated(&mut self, path: &str, inputs: usize, outputs: usize) -> usize {
        let matrix = self.linear(&[path.to_owned()], inputs, outputs);
        self.matrices[matrix].gated = true;
        matrix
    }

    /// The weight of a 3×3 convolution.
    pub(super) fn conv(&mut self, path: &str, inputs: usize, outputs: usize) -> usize {
        let matrix = self.linear(&[path.to_owned()], inputs, outputs);
        self.matrices[matrix].kernel = 3;
        matrix
    }

    /// One more linear layer below those of `matrix`.
    pub(super) fn extend_matrix(&mut self, matrix: usize, path: &str, outputs: usize) {
        let spec = &mut self.matrices[matrix];
        spec.parts.push(path.to_owned());
        spec.outputs += outputs;
    }

    /// One more part of a vector: the sum of the biases of `paths`.
    pub(super) fn extend_vector(&mut self, vector: usize, paths: &[&str]) {
        let part = paths.iter().map(|path| ((*path).to_owned(), Parameter::Bias)).collect();
        self.vectors[vector].parts.push(part);
    }

    fn vector(&mut self, path: &str, parameter: Parameter) -> usize {
        self.vectors.push(VectorSpec { parts: vec![vec![(path.to_owned(), parameter)]] });
        self.vectors.len() - 1
    }

    /// A vector without parts yet.
    pub(super) fn empty_vector(&mut self) -> usize {
        self.vectors.push(VectorSpec { parts: Vec::new() });
        self.vectors.len() - 1
    }

    /// The bias of a layer.
    pub(super) fn bias(&mut self, path: &str) -> usize {
        self.vector(path, Parameter::Bias)
    }

    /// The biases of several layers, one behind the other.
    pub(super) fn biases(&mut self, paths: &[String]) -> usize {
        let vector = self.empty_vector();
        for path in paths {
            self.extend_vector(vector, &[path]);
        }
        vector
    }

    /// Gain and offset of a normalisation.
    pub(super) fn norm(&mut self, path: &str) -> Norm {
        Norm {
            weight: self.vector(path, Parameter::NormWeight),
            bias: self.vector(path, Parameter::NormBias),
        }
    }

    /// A linear layer with a bias, on every pixel.
    pub(super) fn layer(&mut self, path: &str, x: View, residual: Option<View>, y: View) {
        let x = self.as_operand(x);
        let matrix = self.linear(&[path.to_owned()], x.channels, y.channels);
        let bias = Some(self.bias(path));
        self.push(Op::Linear { x, matrix, bias, activation: None, residual, y });
    }

    /// Group normalisation.
    pub(super) fn group_norm(
        &mut self,
        path: &str,
        x: View,
        groups: usize,
        eps: f64,
        activation: Option<Activation>,
        y: View,
    ) {
        let norm = self.norm(path);
        self.push(Op::GroupNorm { x, norm, groups, eps, activation, y });
    }

    /// Appends to the step stage.
    pub(super) fn push(&mut self, op: Op) {
        self.push_to(Stage::Step, op, self.different);
    }

    /// Appends to a stage. Weights have the type of what they are multiplied with.
    pub(super) fn push_to(&mut self, stage: Stage, op: Op, images: usize) {
        if let Op::Linear { x, matrix, .. } | Op::Conv { x, matrix, .. } = op {
            self.matrices[matrix].dtype = self.buffers[x.buffer].dtype;
        }
        let step = Step { op, images };
        match stage {
            Stage::Prompt => self.prompt.push(step),
            Stage::Time => self.time.push(step),
            Stage::Step => self.step.push(step),
        }
    }

    /// Called before the first operation for which the halves of the batch differ.
    pub(super) fn split(&mut self) {
        if self.different < self.images && self.split.is_none() {
            self.split = Some(self.step.len());
            self.different = self.images;
        }
    }

    /// Puts the buffers into an arena.
    pub(super) fn finish(mut self, input: View, output: View) -> Plan {
        self.split();
        if let Some(at) = self.split {
            self.repeat_what_is_read_later(at, output);
        }
        let (places, arena) = place::places(&self.buffers, [&self.prompt, &self.time, &self.step]);
        Plan {
            buffers: self.buffers,
            places,
            arena,
            matrices: self.matrices,
            vectors: self.vectors,
            prompt: self.prompt,
            time: self.time,
            step: self.step,
            input,
            output,
        }
    }

    /// What was computed for one half and is read for both is copied at the split.
    fn repeat_what_is_read_later(&mut self, at: usize, output: View) {
        let later: Vec<View> =
            self.step[at..].iter().flat_map(|step| step.op.reads()).chain([output]).collect();
        let mut copied: Vec<View> = Vec::new();
        for step in &self.step[..at] {
            let view = step.op.writes();
            if !copied.contains(&view) && later.iter().any(|read| read.buffer == view.buffer) {
                copied.push(view);
            }
        }
        let images = self.images;
        self.step.splice(at..at, copied.into_iter().map(|x| Step { op: Op::Repeat { x }, images }));
    }
}
