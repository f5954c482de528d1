//! A page of pictures with what was found about them.

use std::fmt::Write;

/// One entry of a page.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Paths of pictures relative to the page, each with its caption.
    pub pictures: Vec<(String, String)>,
    pub title: String,
    /// Lines below the title.
    pub lines: Vec<String>,
    /// Whether it is right, where there is right and wrong.
    pub right: Option<bool>,
}

/// A page with a table of numbers and all entries. It loads nothing but the pictures beside it.
pub fn page(title: &str, numbers: &[(String, String)], entries: &[Entry]) -> String {
    let mut text =
        format!("{HEAD}<title>{0}</title>\n<style>{STYLE}</style>\n<h1>{0}</h1>\n<table>\n", escape(title));
    for (name, number) in numbers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<tr><th>{}<td>{}</tr>", escape(name), escape(number));
    }
    text += "</table>\n<main>\n";
    for Entry { pictures, title, lines, right } in entries {
        let class = match right {
            Some(true) => " class=right",
            Some(false) => " class=wrong",
            None => "",
        };
        let _ = write!(text, "<article{class}>\n<div>");
        for (path, caption) in pictures {
            let (path, caption) = (escape(path), escape(caption));
            let _ = write!(
                text,
                "<figure><img loading=lazy alt=\"{caption}\" src=\"{path}\"><figcaption>{caption}</figcaption></figure>"
            );
        }
        let _ = write!(text, "</div>\n<h2>{}</h2>\n", escape(title));
        for line in lines {
            let _ = writeln!(text, "<p>{}</p>", escape(line));
        }
        text += "</article>\n";
    }
    text + "</main>\n</html>\n"
}

const HEAD: &str = "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
                    <meta name=viewport content=\"width=device-width\">\n";
const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color:#222;background:#fafafa}\
 table{border-collapse:collapse;margin-bottom:2rem}th{text-align:left;padding:.2rem 1rem .2rem 0;font-weight:500}\
 td{font-variant-numeric:tabular-nums}main{display:grid;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr));gap:1rem}\
 article{background:#fff;border:1px solid #ddd;border-left:6px solid #ccc;border-radius:6px;padding:.8rem}\
 article.right{border-left-color:#28965a}article.wrong{border-left-color:#cd3232}\
 article div{display:flex;gap:.5rem;flex-wrap:wrap}figure{margin:0}img{width:9rem;image-rendering:auto;border-radius:4px}\
 figcaption{font-size:12px;color:#666;max-width:9rem}h2{font-size:15px;margin:.6rem 0 .2rem}p{margin:.1rem 0;color:#444}";

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_texts() {
        let entry = Entry {
            pictures: vec![("pictures/a.png".into(), "a <b> & \"c\"".into())],
            title: "</article><script>".into(),
            lines: vec!["line".into()],
            right: Some(false),
        };
        let page = page("a & b", &[("score".into(), "0.5".into())], &[entry]);
        for part in [
            "a &amp; b",
            "<th>score<td>0.5",
            "&lt;/article&gt;&lt;script&gt;",
            "class=wrong",
            "src=\"pictures/a.png\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script"));
    }
}
