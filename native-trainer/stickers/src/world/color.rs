//! GenEval's ten colours, the tints of backgrounds, and how far apart colours look.

use std::{fmt, sync::LazyLock};

use serde::{Deserialize, Serialize};

/// An sRGB colour, 0 to 255.
pub(super) type Rgb = [u8; 3];

/// One of GenEval's ten colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Black,
    White,
}

impl Color {
    /// All ten colours in GenEval's order.
    pub const ALL: [Color; 10] = {
        use Color::*;
        [Red, Orange, Yellow, Green, Blue, Purple, Pink, Brown, Black, White]
    };

    /// The index in [`Color::ALL`], 0 to 9.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"]
            [self.index()]
    }

    /// The name in Chinese.
    pub fn chinese(self) -> &'static str {
        ["红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "棕色", "黑色", "白色"][self.index()]
    }

    /// The colour with a name.
    pub fn from_name(name: &str) -> Option<Color> {
        Color::ALL.into_iter().find(|color| color.name() == name)
    }

    /// The shade for a tone from 0 (dark) over 0.5 (the colour itself) to 1 (light).
    pub(super) fn shade(self, tone: f32) -> Rgb {
        let [dark, mid, light]: [[f32; 3]; 3] = match self {
            Color::Red => [[85., 0., 10.], [218., 28., 36.], [255., 128., 112.]],
            Color::Orange => [[150., 62., 0.], [246., 130., 12.], [255., 192., 105.]],
            Color::Yellow => [[158., 116., 0.], [252., 216., 36.], [255., 246., 164.]],
            Color::Green => [[6., 62., 18.], [44., 158., 58.], [140., 222., 128.]],
            Color::Blue => [[8., 26., 98.], [36., 98., 222.], [128., 186., 255.]],
            Color::Purple => [[56., 12., 92.], [138., 58., 190.], [200., 152., 240.]],
            Color::Pink => [[176., 44., 112.], [255., 128., 188.], [255., 210., 230.]],
            Color::Brown => [[48., 24., 8.], [122., 70., 32.], [188., 136., 92.]],
            Color::Black => [[0., 0., 2.], [38., 38., 44.], [124., 124., 132.]],
            Color::White => [[118., 124., 138.], [226., 229., 235.], [255., 255., 255.]],
        };
        let tone = tone.clamp(0., 1.) * 2.;
        let (from, to, t) = if tone < 1. { (dark, mid, tone) } else { (mid, light, tone - 1.) };
        std::array::from_fn(|channel| (from[channel] + (to[channel] - from[channel]) * t).round() as u8)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A colour of backgrounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tint {
    White,
    Cream,
    Beige,
    LightGrey,
    DarkGrey,
    LightBlue,
    Navy,
    Mint,
    Teal,
    Lavender,
    Peach,
    Rose,
    Olive,
    Maroon,
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Black,
    Grey,
}

impl Tint {
    /// All tints.
    pub const ALL: [Tint; 24] = {
        use Tint::*;
        [
            White, Cream, Beige, LightGrey, DarkGrey, LightBlue, Navy, Mint, Teal, Lavender, Peach, Rose,
            Olive, Maroon, Red, Orange, Yellow, Green, Blue, Purple, Pink, Brown, Black, Grey,
        ]
    };

    /// The tints of the small world: the first of [`Tint::ALL`].
    pub const SMALL: [Tint; 14] = {
        use Tint::*;
        [
            White, Cream, Beige, LightGrey, DarkGrey, LightBlue, Navy, Mint, Teal, Lavender, Peach, Rose,
            Olive, Maroon,
        ]
    };

    /// The name in lower case, such as `light blue`.
    pub fn name(self) -> &'static str {
        self.look().0
    }

    /// The name in Chinese.
    pub fn chinese(self) -> &'static str {
        [
            "白色",
            "奶油色",
            "米色",
            "浅灰色",
            "深灰色",
            "浅蓝色",
            "深蓝色",
            "薄荷绿",
            "青色",
            "淡紫色",
            "桃色",
            "玫瑰色",
            "橄榄绿",
            "酒红色",
            "红色",
            "橙色",
            "黄色",
            "绿色",
            "蓝色",
            "紫色",
            "粉色",
            "棕色",
            "黑色",
            "灰色",
        ][self as usize]
    }

    pub(super) fn rgb(self) -> Rgb {
        self.look().1
    }

    pub(super) fn oklab(self) -> [f32; 3] {
        static TINTS: LazyLock<[[f32; 3]; Tint::ALL.len()]> =
            LazyLock::new(|| Tint::ALL.map(|tint| oklab(tint.rgb())));
        TINTS[self as usize]
    }

    fn look(self) -> (&'static str, Rgb) {
        match self {
            Tint::White => ("white", [255, 255, 255]),
            Tint::Cream => ("cream", [255, 243, 208]),
            Tint::Beige => ("beige", [224, 202, 166]),
            Tint::LightGrey => ("light grey", [212, 216, 220]),
            Tint::DarkGrey => ("dark grey", [86, 90, 97]),
            Tint::LightBlue => ("light blue", [170, 214, 246]),
            Tint::Navy => ("navy", [28, 44, 92]),
            Tint::Mint => ("mint", [178, 232, 202]),
            Tint::Teal => ("teal", [36, 128, 134]),
            Tint::Lavender => ("lavender", [210, 198, 240]),
            Tint::Peach => ("peach", [255, 202, 166]),
            Tint::Rose => ("rose", [244, 184, 202]),
            Tint::Olive => ("olive", [122, 128, 62]),
            Tint::Maroon => ("maroon", [108, 28, 50]),
            // GenEval's colours, for "on a red background".
            Tint::Red => ("red", [218, 44, 48]),
            Tint::Orange => ("orange", [248, 146, 40]),
            Tint::Yellow => ("yellow", [252, 220, 70]),
            Tint::Green => ("green", [58, 164, 76]),
            Tint::Blue => ("blue", [48, 108, 220]),
            Tint::Purple => ("purple", [132, 70, 184]),
            Tint::Pink => ("pink", [255, 146, 196]),
            Tint::Brown => ("brown", [124, 78, 44]),
            Tint::Black => ("black", [24, 24, 28]),
            Tint::Grey => ("grey", [148, 152, 158]),
        }
    }
}

impl fmt::Display for Tint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lightness of a colour, 0 to 1 (Rec. 601 luma of the sRGB values).
pub(super) fn luma([r, g, b]: Rgb) -> f32 {
    (0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)) / 255.
}

/// A colour in OKLab (Björn Ottosson, 2020): lightness 0 to 1, two axes of about -0.4 to 0.4.
pub(super) fn oklab(rgb: Rgb) -> [f32; 3] {
    let [r, g, b] = rgb.map(|value| {
        let value = f32::from(value) / 255.;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

/// How different two OKLab colours look: 0 is equal, 0.02 is just noticeable, 1 is black against white.
pub(super) fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_colors_differ_plainly() {
        for (index, &a) in Color::ALL.iter().enumerate() {
            assert_eq!(Color::from_name(a.name()), Some(a));
            for &b in &Color::ALL[index + 1..] {
                let apart = distance(oklab(a.shade(0.5)), oklab(b.shade(0.5)));
                assert!(apart > 0.12, "{a} and {b} are only {apart} apart");
            }
        }
    }
}
