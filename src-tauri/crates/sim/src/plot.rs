//! Bars as SVG, and tables.

use std::fmt::Write as _;

/// Values of one kind, one per category.
pub(crate) struct Series {
    pub name: &'static str,
    pub values: Vec<Option<f64>>,
}

/// A bar chart. Bars beyond the range end at its edge; their value is in their title and in the table below.
pub(crate) struct Plot {
    pub title: &'static str,
    pub categories: Vec<String>,
    pub series: Vec<Series>,
    pub range: (f64, f64),
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 40.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;
/// Between the lines of the grid; ranges are multiples of it.
const GRID: f64 = 25.0;

impl Plot {
    pub fn draw(&self, page: &mut String) {
        let _ = writeln!(page, "<figure><figcaption>{}</figcaption>\n<ul class=\"key\">", self.title);
        for (i, series) in self.series.iter().enumerate() {
            let _ = writeln!(
                page,
                "<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\"f{}\" width=\"10\" height=\"10\"/></svg> {}</li>",
                i % 6,
                series.name
            );
        }
        let _ = writeln!(
            page,
            "</ul>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}; the values are in the table below\">",
            self.title
        );
        let (low, high) = self.range;
        let y = |value: f64| TOP + (high - value.clamp(low, high)) / (high - low) * (HEIGHT - TOP - BOTTOM);
        for step in 0..=((high - low) / GRID) as u32 {
            let value = low + GRID * f64::from(step);
            let _ = writeln!(
                page,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{value:.0}</text>",
                y(value),
                LEFT - 6.0,
                y(value) + 4.0
            );
        }
        let slot = (WIDTH - LEFT) / self.categories.len().max(1) as f64;
        let bar = slot * 0.8 / self.series.len().max(1) as f64;
        for (c, category) in self.categories.iter().enumerate() {
            let from = LEFT + slot * (c as f64 + 0.1);
            for (i, series) in self.series.iter().enumerate() {
                let Some(value) = series.values.get(c).copied().flatten().filter(|value| value.is_finite()) else {
                    continue;
                };
                let (top, base) = (y(value.max(0.0)), y(value.min(0.0)));
                let _ = writeln!(
                    page,
                    "<rect class=\"f{}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{category}, {}: {}</title></rect>",
                    i % 6,
                    from + bar * i as f64,
                    bar * 0.92,
                    (base - top).max(0.5),
                    series.name,
                    cell(value)
                );
            }
            let _ = writeln!(
                page,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{category}</text>",
                from + slot * 0.4,
                HEIGHT - 8.0
            );
        }
        let _ = writeln!(
            page,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/></svg></figure>",
            y(0.0)
        );
    }
}

/// A number with one digit behind the point.
pub(crate) fn cell(value: f64) -> String {
    // No −0.0.
    format!("{:.1}", value + 0.0).replace("-0.0", "0.0").replace('-', "−")
}

pub(crate) fn number(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), cell)
}

/// A table; its first column names the row.
pub(crate) fn table(page: &mut String, caption: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(page, "<div class=\"wide\" tabindex=\"0\"><table><caption>{caption}</caption><thead><tr>");
    for name in head {
        let _ = write!(page, "<th scope=\"col\">{name}</th>");
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (i, value) in row.iter().enumerate() {
            let _ =
                if i == 0 { write!(page, "<th scope=\"row\">{value}</th>") } else { write!(page, "<td>{value}</td>") };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}
