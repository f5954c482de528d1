//! The 80 classes of GenEval (COCO's, under GenEval's names), each with its drawing.

use std::fmt;

use serde::{Deserialize, Serialize};
use twemoji_assets::svg::{SvgTwemojiAsset, codes};
use unigen_evaluation::unknown;

/// One of GenEval's 80 object classes. JSON holds its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Class(u8);

struct Entry {
    name: &'static str,
    plural: &'static str,
    art: Art,
}

enum Art {
    Emoji(&'static SvgTwemojiAsset),
    Own(&'static str),
}

macro_rules! classes {
    (@art $code:ident) => { Art::Emoji(&codes::$code) };
    (@art $file:literal) => { Art::Own(include_str!(concat!("svg/", $file, ".svg"))) };
    ($($name:literal $plural:literal $art:tt)*) => {
        &[$(Entry { name: $name, plural: $plural, art: classes!(@art $art) }),*]
    };
}

/// The classes in GenEval's order. If Twemoji has no such object, or shows it together with something else (a surfer
/// for a surfboard, a ball for a tennis racket), the drawing is our own in the same style.
static CLASSES: &[Entry; Class::COUNT] = classes! {
    "person" "people" U_1F9CD
    "bicycle" "bicycles" U_1F6B2
    "car" "cars" U_1F697
    "motorcycle" "motorcycles" U_1F3CD
    "airplane" "airplanes" U_2708
    "bus" "buses" U_1F68D
    "train" "trains" U_1F682
    "truck" "trucks" U_1F69B
    "boat" "boats" U_26F5
    "traffic light" "traffic lights" U_1F6A6
    "fire hydrant" "fire hydrants" "fire_hydrant"
    "stop sign" "stop signs" "stop_sign"
    "parking meter" "parking meters" "parking_meter"
    "bench" "benches" "bench"
    "bird" "birds" U_1F426
    "cat" "cats" U_1F431
    "dog" "dogs" U_1F415
    "horse" "horses" U_1F40E
    "sheep" "sheep" U_1F411
    "cow" "cows" U_1F404
    "elephant" "elephants" U_1F418
    "bear" "bears" U_1F43B
    "zebra" "zebras" U_1F993
    "giraffe" "giraffes" U_1F992
    "backpack" "backpacks" U_1F392
    "umbrella" "umbrellas" U_2602
    "handbag" "handbags" U_1F45C
    "tie" "ties" U_1F454
    "suitcase" "suitcases" U_1F9F3
    "frisbee" "frisbees" U_1F94F
    "skis" "skis" U_1F3BF
    "snowboard" "snowboards" "snowboard"
    "sports ball" "sports balls" U_26BD
    "kite" "kites" U_1FA81
    "baseball bat" "baseball bats" "baseball_bat"
    "baseball glove" "baseball gloves" "baseball_glove"
    "skateboard" "skateboards" U_1F6F9
    "surfboard" "surfboards" "surfboard"
    "tennis racket" "tennis rackets" "tennis_racket"
    "bottle" "bottles" U_1F37E
    "wine glass" "wine glasses" U_1F377
    "cup" "cups" U_1F964
    "fork" "forks" "fork"
    "knife" "knives" U_1F52A
    "spoon" "spoons" U_1F944
    "bowl" "bowls" U_1F963
    "banana" "bananas" U_1F34C
    "apple" "apples" U_1F34E
    "sandwich" "sandwiches" U_1F96A
    "orange" "oranges" U_1F34A
    "broccoli" "broccolis" U_1F966
    "carrot" "carrots" U_1F955
    "hot dog" "hot dogs" U_1F32D
    "pizza" "pizzas" U_1F355
    "donut" "donuts" U_1F369
    "cake" "cakes" U_1F382
    "chair" "chairs" U_1FA91
    "couch" "couches" U_1F6CB
    "potted plant" "potted plants" U_1FAB4
    "bed" "beds" U_1F6CF
    "dining table" "dining tables" "dining_table"
    "toilet" "toilets" U_1F6BD
    "tv" "tvs" U_1F4FA
    "laptop" "laptops" U_1F4BB
    "computer mouse" "computer mice" U_1F5B1
    "tv remote" "tv remotes" "tv_remote"
    "computer keyboard" "computer keyboards" U_2328
    "cell phone" "cell phones" U_1F4F1
    "microwave" "microwaves" "microwave"
    "oven" "ovens" "oven"
    "toaster" "toasters" "toaster"
    "sink" "sinks" "sink"
    "refrigerator" "refrigerators" "refrigerator"
    "book" "books" U_1F4D6
    "clock" "clocks" U_23F0
    "vase" "vases" U_1F3FA
    "scissors" "scissors" U_2702
    "teddy bear" "teddy bears" U_1F9F8
    "hair drier" "hair driers" "hair_drier"
    "toothbrush" "toothbrushes" U_1FAA5
};

impl Class {
    /// Number of classes.
    pub const COUNT: usize = 80;
    /// All classes in GenEval's order.
    pub const ALL: [Class; Class::COUNT] = {
        let mut all = [Class(0); Class::COUNT];
        let mut index = 0;
        while index < Class::COUNT {
            all[index] = Class(index as u8);
            index += 1;
        }
        all
    };

    /// The index in [`Class::ALL`], 0 to 79.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// GenEval's name, such as `tv remote`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The plural, such as `knives`.
    pub fn plural(self) -> &'static str {
        self.entry().plural
    }

    /// The class with a GenEval name.
    pub fn from_name(name: &str) -> Option<Class> {
        CLASSES.iter().position(|entry| entry.name == name).map(|index| Class(index as u8))
    }

    /// Whether the name is a plural already (`skis`, `scissors`), so that English counts pairs.
    pub fn is_pair(self) -> bool {
        matches!(self.name(), "skis" | "scissors")
    }

    /// Whether the class may be painted in a colour. People keep their natural colours, as in GenEval's prompts.
    pub fn takes_color(self) -> bool {
        self.name() != "person"
    }

    /// The drawing, an SVG of about 36 x 36 units.
    pub(super) fn svg(self) -> &'static str {
        match self.entry().art {
            Art::Emoji(asset) => asset,
            Art::Own(svg) => svg,
        }
    }

    fn entry(self) -> &'static Entry {
        &CLASSES[self.index()]
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({})", self.name())
    }
}

impl From<Class> for &'static str {
    fn from(class: Class) -> Self {
        class.name()
    }
}

impl TryFrom<String> for Class {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Class::from_name(&name).ok_or_else(|| unknown("class", &name, &Class::ALL.map(Class::name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_agree() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
        assert_eq!(Class::from_name("unicorn"), None);
    }

    #[test]
    fn an_unknown_name_is_named_in_the_error() {
        let error =
            serde_json::from_str::<Class>("\"remote\"").expect_err("GenEval says tv remote").to_string();
        assert!(error.contains("remote") && error.contains("tv remote"), "{error}");
    }
}
