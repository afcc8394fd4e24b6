//! The route of a transfer as a diagram: source, staged, and each delivery with its state. Drawn twice: wide,
//! and tall for narrow screens; the stylesheet shows one.

use crate::web::badge::{Badge, Icon, Tone};
use askama::Template;

/// Deliveries that are drawn; the list below the picture has all.
const MOST: usize = 12;

/// One place of the way.
pub(crate) struct Stop {
    pub(crate) caption: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) badge: Badge,
}

#[derive(Template)]
#[template(path = "route.svg")]
pub(crate) struct Picture {
    class: &'static str,
    label: String,
    width: usize,
    height: usize,
    edges: Vec<Edge>,
    boxes: Vec<Drawn>,
}

impl askama::filters::HtmlSafe for Picture {}

struct Edge {
    path: String,
    tone: Tone,
    /// Not travelled yet.
    dashed: bool,
}

struct Drawn {
    x: usize,
    y: usize,
    width: usize,
    caption: String,
    title: String,
    text: String,
    full: String,
    tone: Tone,
    icon: Icon,
    word: &'static str,
}

const HEIGHT: usize = 84;
/// Between a box's edge and its text.
const MARGIN: usize = 14;
/// The letters' sizes in tenths, as the stylesheet has them. The text's are not bold, and so narrower.
const TITLE_SIZE: usize = 150;
const TEXT_SIZE: usize = 125 * 88 / 100;

impl Drawn {
    fn new(stop: &Stop, x: usize, y: usize, width: usize) -> Self {
        let room = width - 2 * MARGIN;
        Self {
            x,
            y,
            width,
            caption: stop.caption.clone(),
            title: shortened(&stop.title, room * 10_000 / TITLE_SIZE),
            text: shortened(&stop.text, room * 10_000 / TEXT_SIZE),
            full: format!("{}: {}. {}. {}", stop.caption, stop.title, stop.text, stop.badge.word),
            tone: stop.badge.tone,
            icon: stop.badge.icon,
            word: stop.badge.word,
        }
    }
}

/// Cut in the middle: both ends of a name tell something. `room` is in thousandths of the letters' size.
fn shortened(text: &str, room: usize) -> String {
    let widths: Vec<usize> = text.chars().map(width).collect();
    if widths.iter().sum::<usize>() <= room {
        return text.to_owned();
    }
    let half = room.saturating_sub(width('…')) / 2;
    let fitting = |widths: &mut dyn Iterator<Item = &usize>| {
        widths
            .scan(0, |sum, width| {
                *sum += width;
                (*sum <= half).then_some(())
            })
            .count()
    };
    let (head, tail) = (fitting(&mut widths.iter()), fitting(&mut widths.iter().rev()));
    text.chars().take(head).chain(['…']).chain(text.chars().skip(widths.len() - tail)).collect()
}

/// How wide a letter is at most among the fonts that the stylesheet names (DejaVu Sans, bold), in thousandths
/// of its size.
const fn width(letter: char) -> usize {
    match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 400,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 500,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '…' => 1100,
        'a'..='z' | '0'..='9' | '_' => 720,
        _ => 900,
    }
}

/// The picture, wide and tall.
pub(crate) fn draw(source: &Stop, staged: &Stop, deliveries: &[Stop]) -> [Picture; 2] {
    let drawn = &deliveries[..deliveries.len().min(MOST)];
    let said: Vec<String> =
        drawn.iter().map(|stop| format!("{}: {}", stop.title, stop.badge.word.to_lowercase())).collect();
    let between = staged.caption.to_lowercase();
    let label =
        format!("Route of this transfer: from {}, {between}, then to {}", source.title, said.join("; "));
    [wide(source, staged, drawn, label.clone()), tall(source, staged, drawn, label)]
}

fn wide(source: &Stop, staged: &Stop, deliveries: &[Stop], label: String) -> Picture {
    const WIDTH: usize = 272;
    const GAP: usize = 72;
    const STEP: usize = HEIGHT + 14;
    let height = deliveries.len().max(1) * STEP - 14;
    let middle = (height - HEIGHT) / 2;
    let (second, third) = (WIDTH + GAP, 2 * (WIDTH + GAP));
    let mut boxes =
        vec![Drawn::new(source, 1, middle + 1, WIDTH), Drawn::new(staged, second, middle + 1, WIDTH)];
    let centre = middle + HEIGHT / 2 + 1;
    let mut edges =
        vec![Edge { path: format!("M{} {centre}H{second}", WIDTH + 1), tone: Tone::Good, dashed: false }];
    for (place, stop) in deliveries.iter().enumerate() {
        let y = place * STEP + 1;
        let (from, to, end) = (second + WIDTH, third, y + HEIGHT / 2);
        let half = (from + to) / 2;
        edges.push(edge(format!("M{from} {centre}C{half} {centre} {half} {end} {to} {end}"), stop));
        boxes.push(Drawn::new(stop, third, y, WIDTH));
    }
    let width = third + WIDTH + 1;
    Picture { class: "route wide-route", label, width, height: height + 2, edges, boxes }
}

fn tall(source: &Stop, staged: &Stop, deliveries: &[Stop], label: String) -> Picture {
    const WIDTH: usize = 340;
    const STEP: usize = HEIGHT + 26;
    const RAIL: usize = 24;
    let mut boxes = vec![Drawn::new(source, 1, 1, WIDTH), Drawn::new(staged, 1, STEP + 1, WIDTH)];
    let mut edges =
        vec![Edge { path: format!("M{RAIL} {HEIGHT}V{}", STEP + 1), tone: Tone::Good, dashed: false }];
    for (place, stop) in deliveries.iter().enumerate() {
        let y = (place + 2) * STEP + 1;
        edges.push(edge(format!("M{RAIL} {}V{y}", y - 26), stop));
        boxes.push(Drawn::new(stop, 1, y, WIDTH));
    }
    let height = boxes.len() * STEP - 26 + 2;
    Picture { class: "route tall-route", label, width: WIDTH + 2, height, edges, boxes }
}

fn edge(path: String, stop: &Stop) -> Edge {
    Edge { path, tone: stop.badge.tone, dashed: stop.badge.tone != Tone::Good }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_the_middle_to_what_fits() {
        assert_eq!(shortened("orders.edi", 10_000), "orders.edi");
        assert_eq!(shortened("a-rather-long-name.edi", 8_000), "a-rat…e.edi");
        for text in ["W".repeat(300), "il.".repeat(100), "\u{6587}".repeat(90), "é".repeat(40)] {
            for room in [0, 1_000, 5_000, 19_520] {
                let cut: usize = shortened(&text, room).chars().map(width).sum();
                assert!(cut <= room.max(width('…')), "{cut} of {room}");
            }
        }
    }

    #[test]
    fn hostile_names_stay_text() {
        let stop = |title: &str| Stop {
            caption: "Source".into(),
            title: title.into(),
            text: "\"><script>".into(),
            badge: Badge::new(Tone::Good, Icon::Check, "Done"),
        };
        let [wide, _] = draw(&stop("<script>"), &stop("b"), &[stop("c'\"")]);
        let svg = wide.render().unwrap();
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("&#60;script&#62;"), "{svg}");
    }
}
