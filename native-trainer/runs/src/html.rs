//! A self-contained page that shows runs side by side: their curves, their newest sheets, their commands.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::RunFolder;
use super::log::{Sheet, records, sheets};

/// The most points in a drawn curve. A longer curve keeps the extremes of every stretch.
const POINTS: usize = 2000;

#[derive(Serialize)]
struct Curves {
    name: String,
    curves: BTreeMap<String, Curve>,
}

/// Steps and their values; a value that is not finite is null.
type Curve = (Vec<u64>, Vec<Option<f64>>);
type Point = (u64, Option<f64>);

/// Makes the page: a plot of all runs for every scalar, with a shared legend, a logarithmic axis, smoothing and
/// values under the pointer, and then the newest sheet of every name. The page loads nothing from elsewhere.
///
/// # Errors
/// If a log or a sheet cannot be read. A run without a log has no curves.
pub fn runs_page(runs: &[RunFolder]) -> Result<String> {
    let mut curves = Vec::new();
    let (mut pictures, mut sessions) = (String::new(), String::new());
    for run in runs {
        let name = run.name();
        let read = || format!("cannot read the run in {}", run.root().display());
        curves.push(Curves { name: name.clone(), curves: curves_of(run).with_context(read)? });
        for sheet in newest(sheets(run).with_context(read)?) {
            let png =
                fs::read(&sheet.path).with_context(|| format!("cannot read {}", sheet.path.display()))?;
            writeln!(
                pictures,
                "<figure><img alt=\"{title}\" src=\"data:image/png;base64,{}\"><figcaption>{title}</figcaption></figure>",
                base64(&png),
                title = escape(&format!("{name} · {} · step {}", sheet.name, sheet.step)),
            )?;
        }
        for session in &run.info().sessions {
            let commit = session.commit.as_deref().unwrap_or("-");
            let cells = [&name, &session.started, &session.version, commit, &session.command];
            let cells = cells.map(|cell| format!("<td>{}</td>", escape(cell)));
            writeln!(sessions, "<tr>{}</tr>", cells.concat())?;
        }
    }
    // Only "<" could end the data inside a script element.
    let data = serde_json::to_string(&curves)?.replace('<', "\\u003c");
    let title = escape(&curves.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(" · "));
    let pictures = if pictures.is_empty() { "<p>No sheets yet.</p>".to_owned() } else { pictures };
    Ok(format!(
        "{HEAD}<title>{title}</title>\n<style>{STYLE}</style>\n{CONTROLS}\
         <h2>Newest sheets</h2>\n<section class=sheets>\n{pictures}</section>\n\
         <h2>Sessions</h2>\n<div class=wide><table>\n\
         <tr><th>run<th>started<th>version<th>commit<th>command</tr>\n{sessions}</table></div>\n\
         <script type=\"application/json\" id=data>{data}</script>\n<script>{SCRIPT}</script>\n</html>\n"
    ))
}

fn curves_of(run: &RunFolder) -> Result<BTreeMap<String, Curve>> {
    let mut curves: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for record in records(&run.log())? {
        for (name, value) in
            record.scalars.into_iter().filter(|(_, value)| value.is_number() || value.is_null())
        {
            curves.entry(name).or_default().push((record.step, Value::as_f64(&value)));
        }
    }
    Ok(curves.into_iter().map(|(name, points)| (name, thin(points).into_iter().unzip())).collect())
}

/// Keeps the lowest and the highest point of every stretch of a long curve, so that spikes stay visible.
fn thin(points: Vec<Point>) -> Vec<Point> {
    if points.len() <= POINTS {
        return points;
    }
    let extremes = |stretch: &[Point]| {
        let known: Vec<_> =
            stretch.iter().enumerate().filter_map(|(at, point)| Some((at, point.1?))).collect();
        let low = known.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |point| point.0);
        let high = known.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |point| point.0);
        let mut kept = vec![low.min(high), low.max(high)];
        kept.dedup();
        kept.into_iter().map(|at| stretch[at]).collect::<Vec<_>>()
    };
    points.chunks(points.len().div_ceil(POINTS / 2)).flat_map(extremes).collect()
}

/// The last sheet of every name.
fn newest(sheets: Vec<Sheet>) -> impl Iterator<Item = Sheet> {
    let by_name: BTreeMap<_, _> = sheets.into_iter().map(|sheet| (sheet.name.clone(), sheet)).collect();
    by_name.into_values()
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let known = digit <= group.len();
            text.push(if known { DIGITS[bits >> (18 - 6 * digit) & 63].into() } else { '=' });
        }
    }
    text
}

const HEAD: &str = r#"<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width">
<meta http-equiv=Content-Security-Policy content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel=icon href="data:,">
"#;

const CONTROLS: &str = r#"<header>
<h1>Runs</h1>
<div id=legend role=group aria-label=Runs></div>
<label><input type=checkbox id=log> log scale</label>
<label>smoothing <input type=range id=smooth min=0 max=0.99 step=0.01 value=0.6> <output id=amount></output></label>
</header>
<noscript><p>The curves need JavaScript.</p></noscript>
<section id=plots></section>
"#;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fafaf8; --card: #fff; --ink: #222; --faint: #777; --line: #e4e4e0 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181a; --card: #1f2123; --ink: #e8e8e6; --faint: #999; --line: #34373a }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 0 1.5rem 3rem; max-width: 1500px; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; align-items: center;
  padding: .7rem 0; background: var(--paper); border-bottom: 1px solid var(--line) }
h1 { margin: 0; font-size: 1.15rem }
h2 { margin: 2rem 0 .8rem; font-size: 1.05rem }
label { white-space: nowrap }
input { accent-color: #4269d0; vertical-align: middle }
output { display: inline-block; width: 2.2em; font-variant-numeric: tabular-nums }
#legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 50%; vertical-align: -.05em }
#plots { display: grid; gap: 1rem; margin-top: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)) }
figure { margin: 0; padding: .7rem .8rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px }
#plots figcaption { font-weight: 600; overflow-wrap: anywhere }
svg { display: block; width: 100%; touch-action: pan-y }
svg text { fill: var(--faint); font-size: 11px; font-variant-numeric: tabular-nums }
.grid { stroke: var(--line) }
.cursor { stroke: var(--faint); stroke-dasharray: 2 3 }
path { fill: none; stroke-width: 1.7; stroke-linejoin: round }
.raw { stroke-width: 1; opacity: .25 }
.values { min-height: 1.5em; color: var(--faint); font-variant-numeric: tabular-nums }
.values span { margin-right: 1em; white-space: nowrap }
.sheets { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
.sheets figure { max-width: 100% }
.sheets img { display: block; max-width: 100%; border-radius: 4px }
.sheets figcaption { margin-top: .5rem; color: var(--faint) }
.wide { overflow-x: auto }
table { border-collapse: collapse; white-space: nowrap }
th, td { padding: .25rem 1.2rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line) }
th { color: var(--faint); font-weight: 500 }
";

const SCRIPT: &str = r##"
"use strict";
const runs = JSON.parse(document.getElementById("data").textContent);
const palette = ["#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0", "#ff8ab7", "#9c6b4e", "#97bbf5"];
const width = 440, height = 230, left = 52, right = 20, top_ = 10, bottom = 22;
const log = document.getElementById("log"), smooth = document.getElementById("smooth");

const make = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "g", "path", "line", "text", "circle"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

runs.forEach((run, index) => {
  run.color = palette[index % palette.length];
  run.shown = true;
  const box = make("input", { type: "checkbox", checked: "" });
  box.onchange = () => { run.shown = box.checked; draw(); };
  const swatch = make("span", { class: "swatch", style: `background:${run.color}` });
  document.getElementById("legend").append(make("label", {}, box, " ", swatch, " ", run.name));
});

const number = value => {
  const size = Math.abs(value);
  return value === 0 ? "0" : size >= 1e5 || size < 1e-4 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(+value.toPrecision(4));
};
const count = value => value >= 1e6 ? +(value / 1e6).toFixed(2) + "M" : value >= 1e4 ? +(value / 1e3).toFixed(1) + "k" : String(value);

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const stride = power * [1, 2, 5, 10].find(factor => factor * power >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / stride - 1e-9); at * stride <= high + stride * 1e-9; at++) found.push(at * stride);
  return found;
}
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++)
    for (const factor of high - low > 2 ? [1] : [1, 2, 5]) {
      const at = power + Math.log10(factor);
      if (at >= low && at <= high) found.push(at);
    }
  return found.length > 1 ? found.filter((_, i) => i % Math.ceil(found.length / 7) === 0) : ticks(low, high, 4);
}

// Exponential average with bias correction; gaps stay gaps.
function smoothed(values, weight) {
  let sum = 0, mass = 0;
  return values.map(value => {
    if (value === null) return null;
    sum = sum * weight + value;
    mass = mass * weight + 1;
    return sum / mass;
  });
}

function plot(name) {
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name} by step` });
  const values = make("div", { class: "values" });
  document.getElementById("plots").append(make("figure", {}, make("figcaption", {}, name), svg, values));
  let curves = [], x, y;

  const redraw = () => {
    const weight = +smooth.value, usable = value => value !== null && (!log.checked || value > 0);
    curves = runs.filter(run => run.shown && run.curves[name]).map(run => {
      const [steps, raw] = run.curves[name];
      return { run, steps, raw, even: smoothed(raw, weight) };
    });
    svg.replaceChildren();
    values.replaceChildren();
    const scale = value => log.checked ? Math.log10(value) : value;
    let low = Infinity, high = -Infinity, first = Infinity, last = -Infinity;
    for (const { steps, raw, even } of curves)
      for (const data of [raw, even]) data.forEach((value, i) => {
        if (!usable(value)) return;
        low = Math.min(low, scale(value)); high = Math.max(high, scale(value));
        first = Math.min(first, steps[i]); last = Math.max(last, steps[i]);
      });
    x = y = null;
    if (low > high) {
      svg.append(make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to draw"));
      return;
    }
    if (first === last) { first -= 1; last += 1; }
    const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
    low -= room; high += room;
    x = step => left + (step - first) / (last - first) * (width - left - right);
    y = value => top_ + (high - scale(value)) / (high - low) * (height - top_ - bottom);
    for (const at of log.checked ? logTicks(low, high) : ticks(low, high, 5)) {
      const value = log.checked ? 10 ** at : at, line = y(value);
      svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: line, y2: line }),
        make("text", { x: left - 6, y: line + 4, "text-anchor": "end" }, number(value)));
    }
    for (const step of ticks(first, last, 5).filter(Number.isInteger))
      svg.append(make("text", { x: x(step), y: height - 6, "text-anchor": "middle" }, count(step)));
    const path = (steps, data) => {
      let pen = "M", d = "";
      data.forEach((value, i) => {
        if (!usable(value)) { pen = "M"; return; }
        d += `${pen}${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
      });
      return d;
    };
    for (const { run, steps, raw, even } of curves) {
      if (weight > 0) svg.append(make("path", { class: "raw", d: path(steps, raw), stroke: run.color }));
      svg.append(make("path", { d: path(steps, even), stroke: run.color }));
    }
    svg.append(make("g", { class: "hover" }));
    point(width, false);
  };

  // Shows the point of every curve that is nearest to `at`, which is in units of the drawing.
  const point = (at, marked) => {
    if (!x) return;
    const nearest = steps => {
      let low = 0, high = steps.length - 1;
      while (high - low > 1) { const middle = (low + high) >> 1; x(steps[middle]) < at ? low = middle : high = middle; }
      return Math.abs(x(steps[low]) - at) < Math.abs(x(steps[high]) - at) ? low : high;
    };
    const hover = svg.querySelector(".hover");
    hover.replaceChildren();
    values.replaceChildren();
    for (const { run, steps, raw, even } of curves) {
      const i = nearest(steps), value = even[i];
      const swatch = make("span", { class: "swatch", style: `background:${run.color};margin-right:.3em` });
      const exact = raw[i] === null ? "not finite" : number(raw[i]);
      values.append(make("span", {}, swatch, `step ${steps[i]}: ${exact}`));
      if (!marked) continue;
      hover.append(make("line", { class: "cursor", x1: x(steps[i]), x2: x(steps[i]), y1: top_, y2: height - bottom }));
      if (value !== null && (!log.checked || value > 0))
        hover.append(make("circle", { cx: x(steps[i]), cy: y(value), r: 3.5, fill: run.color }));
    }
  };
  svg.onpointermove = event => {
    const bounds = svg.getBoundingClientRect();
    point((event.clientX - bounds.left) / bounds.width * width, true);
  };
  svg.onpointerleave = () => point(width, false);
  return redraw;
}

const plots = [...new Set(runs.flatMap(run => Object.keys(run.curves)))].sort().map(plot);
function draw() {
  document.getElementById("amount").textContent = (+smooth.value).toFixed(2);
  plots.forEach(redraw => redraw());
}
log.onchange = draw;
smooth.oninput = draw;
draw();
"##;

#[cfg(test)]
mod tests {
    use super::super::RunLog;
    use super::*;
    use image::RgbImage;

    #[test]
    fn shows_curves_and_the_newest_sheet() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&place.path().join("a<b>&c"), "", "unigen \"<x>\"").unwrap();
        let mut log = RunLog::open(&folder, None).unwrap();
        for step in 0..3 {
            log.scalars(step, &[("</script><b>", step as f64), ("nan", f64::NAN)]).unwrap();
            log.image(step, "sample", &RgbImage::new(2, 2)).unwrap();
        }
        let page = runs_page(&[folder]).unwrap();
        assert!(page.contains("a&lt;b&gt;&amp;c · sample · step 2") && !page.contains("step 1<"));
        assert!(page.contains("unigen &quot;&lt;x&gt;&quot;"));
        assert!(!page.contains("a<b>") && !page.contains("<x>"));
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(page.contains(r#""nan":[[0,1,2],[null,null,null]]"#));
    }

    #[test]
    fn a_run_without_a_log_has_no_curves() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&place.path().join("new"), "", "unigen").unwrap();
        assert!(runs_page(&[folder]).unwrap().contains("No sheets yet"));
        runs_page(&[]).unwrap();
    }

    #[test]
    fn long_curves_keep_their_spikes() {
        let mut points: Vec<_> = (0..100_000).map(|step| (step, Some(1.0))).collect();
        (points[777].1, points[50_000].1) = (Some(99.0), None);
        let thinned = thin(points);
        assert!(thinned.len() <= POINTS && thinned.contains(&(777, Some(99.0))));
        assert!(thinned.is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn base64_of_the_rfc() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
