//! Histograms of the sizes and aspect ratios of a dataset.

use leptos::prelude::*;

/// Upper ends of the classes of sizes: shorter sides below 256, below 384, and so on.
const SIZES: [u32; 5] = [256, 384, 512, 768, 1024];
/// Width to height.
const SHAPES: [(&str, f64); 7] = [
    ("1 : 2", 0.5),
    ("2 : 3", 2.0 / 3.0),
    ("3 : 4", 0.75),
    ("1 : 1", 1.0),
    ("4 : 3", 4.0 / 3.0),
    ("3 : 2", 1.5),
    ("2 : 1", 2.0),
];

/// Images by shorter side; classes from the first to the last non-empty one.
pub(super) fn by_size(images: &[(u32, u32)]) -> Vec<(String, usize)> {
    let mut counts = vec![0; SIZES.len() + 1];
    for (width, height) in images {
        let class = SIZES.iter().position(|size| width.min(height) < size).unwrap_or(SIZES.len());
        counts[class] += 1;
    }
    let label = |class: usize| match class {
        0 => format!("Below {}", SIZES[0]),
        class if class == SIZES.len() => format!("{}+", SIZES[class - 1]),
        class => format!("{}–{}", SIZES[class - 1], SIZES[class] - 1),
    };
    between_the_ends(counts.into_iter().enumerate().map(|(class, count)| (label(class), count)).collect())
}

/// Images by the nearest aspect ratio on a logarithmic scale.
pub(super) fn by_shape(images: &[(u32, u32)]) -> Vec<(String, usize)> {
    let mut counts = [0; SHAPES.len()];
    for (width, height) in images {
        let ratio = (f64::from((*width).max(1)) / f64::from((*height).max(1))).ln();
        let distance = |class: &usize| (SHAPES[*class].1.ln() - ratio).abs();
        let nearest = (0..SHAPES.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(3);
        counts[nearest] += 1;
    }
    between_the_ends(
        SHAPES.iter().zip(counts).map(|((name, _), count)| ((*name).to_owned(), count)).collect(),
    )
}

fn between_the_ends(classes: Vec<(String, usize)>) -> Vec<(String, usize)> {
    let first = classes.iter().position(|class| class.1 > 0).unwrap_or(0);
    let last = classes.iter().rposition(|class| class.1 > 0).unwrap_or(0);
    classes.into_iter().skip(first).take(last + 1 - first).collect()
}

/// Counts as bars, in a table for screen readers.
pub(super) fn bars(title: &'static str, meaning: &'static str, classes: Vec<(String, usize)>) -> AnyView {
    let most = classes.iter().map(|class| class.1).max().unwrap_or(1).max(1);
    let rows = classes.into_iter().map(|(name, count)| {
        let width = format!("width:{:.1}%", count as f64 / most as f64 * 100.0);
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="bar-cell" aria-hidden="true">
                    <i style=width></i>
                </td>
                <td class="count">{count}</td>
            </tr>
        }
    });
    view! {
        <section class="panel">
            <h2>{title}</h2>
            <p class="hint">{meaning}</p>
            <table class="bars">
                <caption class="off-screen">{title}</caption>
                <tbody>{rows.collect::<Vec<_>>()}</tbody>
            </table>
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_shorter_side() {
        let counted = by_size(&[(512, 900), (511, 512), (400, 300), (4000, 3000)]);
        let counted: Vec<_> = counted.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counted, [("256–383", 1), ("384–511", 1), ("512–767", 1), ("768–1023", 0), ("1024+", 1)]);
    }

    #[test]
    fn shapes_are_the_nearest_ones() {
        let counted = by_shape(&[(500, 500), (510, 500), (600, 400), (1, 10_000)]);
        let counted: Vec<_> =
            counted.iter().filter(|class| class.1 > 0).map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counted, [("1 : 2", 1), ("1 : 1", 2), ("3 : 2", 1)]);
        assert_eq!(by_shape(&[]).len(), 1);
    }
}
