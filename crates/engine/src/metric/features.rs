//! Rows of numbers: one for each image or text.

/// `rows × width` numbers, row by row. Every number is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    width: usize,
    values: Vec<f64>,
}

/// Why numbers are not features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeaturesError {
    /// The rows have different lengths, or none.
    #[error("the feature vectors have different lengths or are empty")]
    Shape,
    /// A NaN or an infinity: the model or its input is broken.
    #[error("a feature vector has a NaN or infinite value")]
    NotFinite,
}

impl Features {
    /// Takes rows of one length.
    ///
    /// # Errors
    /// Rows of different lengths or of none, and numbers that are not finite.
    pub fn new<Row: AsRef<[f32]>>(rows: &[Row]) -> Result<Self, FeaturesError> {
        let width = rows.first().map_or(0, |row| row.as_ref().len());
        if rows.iter().any(|row| row.as_ref().len() != width || row.as_ref().is_empty()) {
            return Err(FeaturesError::Shape);
        }
        let values: Vec<f64> =
            rows.iter().flat_map(|row| row.as_ref().iter().copied().map(f64::from)).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(FeaturesError::NotFinite);
        }
        Ok(Self { width, values })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in each row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> + Clone {
        // A width of 0 occurs without rows only.
        self.values.chunks_exact(self.width.max(1))
    }

    /// One row.
    pub fn row(&self, index: usize) -> Option<&[f64]> {
        self.rows().nth(index)
    }

    /// The mean of all rows; zeros without rows.
    pub fn mean(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.width];
        for row in self.rows() {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let rows = self.len().max(1) as f64;
        sum.iter_mut().for_each(|sum| *sum /= rows);
        sum
    }

    /// The rows less `centre`, each scaled to length 1. A row that equals the centre becomes zeros.
    pub fn directions(&self, centre: Option<&[f64]>) -> Self {
        let mut values = self.values.clone();
        for row in values.chunks_exact_mut(self.width.max(1)) {
            if let Some(centre) = centre {
                row.iter_mut().zip(centre).for_each(|(value, centre)| *value -= centre);
            }
            let length = dot(row, row).sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|value| *value /= length);
            }
        }
        Self { width: self.width, values }
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `cos(a, b)`; 0 where one of them is zero.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

/// The mean; `None` of nothing.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}
