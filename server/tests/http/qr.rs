//! Reads the QR codes that pages show, from their drawing to the address.

/// Modules of the quiet zone.
const QUIET: usize = 4;

/// The dark modules of a drawing, row by row.
fn modules(svg: &str) -> Vec<Vec<bool>> {
    let path = svg.rsplit_once(" d=\"").unwrap().1.split('"').next().unwrap();
    let rects: Vec<(usize, usize, usize)> = path
        .split('M')
        .skip(1)
        .map(|rect| {
            let (place, rest) = rect.split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let width = rest.split_once('v').unwrap().0;
            (x.parse().unwrap(), y.parse().unwrap(), width.parse().unwrap())
        })
        .collect();
    let unit = rects.iter().map(|(_, _, width)| *width).min().unwrap();
    let size = rects.iter().map(|(x, ..)| x / unit).max().unwrap() + 1 - QUIET;
    let mut modules = vec![vec![false; size]; size];
    for (x, y, _) in rects {
        modules[y / unit - QUIET][x / unit - QUIET] = true;
    }
    modules
}

/// The text of a code.
pub(crate) fn read(svg: &str) -> String {
    let modules = modules(svg);
    let grid = rqrr::SimpleGrid::from_func(modules.len(), |x, y| modules[y][x]);
    rqrr::Grid::new(grid).decode().unwrap().1
}
