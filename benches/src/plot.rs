//! The picture: nanoseconds a call by lane, on a logarithmic axis.

use crate::rounds::Timed;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SETTINGS: usize = 4;

/// Draws `timed` to an SVG file.
///
/// # Errors
/// The file can't be written.
pub fn draw(timed: &[Timed], file: &Path) -> Result<(), Box<dyn Error>> {
    let lanes: Vec<_> = timed[..timed.len() / SETTINGS].iter().map(|timed| timed.lane).collect();
    let most = timed.iter().filter_map(Timed::min).fold(1.0, f64::max) * 1.5;
    let height = 80 + lanes.len() as u32 * 62;
    let root = SVGBackend::new(file, (900, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = lanes.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption("One call, ns (shortest batch)", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(140)
        .build_cartesian_2d((1f64..most).log_scale(), rows..0f64)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc("ns a call").draw()?;
    for (setting, timed) in timed.chunks(lanes.len()).enumerate() {
        let colour = Palette99::pick(setting).mix(0.85);
        let bars = timed.iter().enumerate().filter_map(|(row, timed)| {
            let (top, min) = (row as f64 + 0.1 + 0.2 * setting as f64, timed.min()?);
            Some(Rectangle::new([(1.0, top), (min.max(1.01), top + 0.18)], colour.filled()))
        });
        let first = &timed[0];
        let label = format!(
            "{}, {} thread{}",
            first.around.name(),
            first.threads,
            if first.threads == 1 { "" } else { "s" }
        );
        let legend = move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled());
        chart.draw_series(bars)?.label(label).legend(legend);
    }
    let style = ("sans-serif", 14).into_text_style(&root);
    for (row, lane) in lanes.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(1.0, row as f64 + 0.5));
        root.draw_text(lane, &style, (12, y - 7))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
