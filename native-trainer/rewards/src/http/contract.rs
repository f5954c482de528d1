//! The contract between a trainer and a reward server, JSON over HTTP, version 2:
//!
//! - `GET /health` → [`Health`]
//! - `POST /v2/score` with a [`ScoreRequest`] → [`ScoreResponse`]
//!
//! An unknown or failing reward, and an item that cannot be scored, are errors in their places in the answer; the
//! others have their scores. If a request cannot be served at all, the answer has a status of 400 or above and a
//! [`Failure`]: 400 if no server could serve it, 404 for an unknown path, 500 if the server failed, 503 if it is
//! worth another try.

use anyhow::{Context, Error, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::io::Cursor;
use unigen_core::picture::Picture;

use super::server::{MAX_ITEMS, MAX_PIXELS};
use crate::{Item, Missing, Score};

/// Version of the contract; both sides refuse others.
pub const VERSION: u32 = 2;
/// Path of [`Health`].
pub const HEALTH: &str = "/health";
/// Path of requests for scores.
pub const SCORE: &str = "/v2/score";
/// Environment variable with the token of a server. It is set on the server's machine and where training runs.
pub const TOKEN: &str = "UNIGEN_REWARDS_TOKEN";

/// The description of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub version: u32,
    /// Names of its rewards.
    pub rewards: Vec<String>,
}

/// Pictures to score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRequest {
    pub version: u32,
    /// Names of the requested rewards.
    pub rewards: Vec<String>,
    pub items: Vec<WireItem>,
}

impl ScoreRequest {
    /// The request in the body of a POST.
    ///
    /// # Errors
    /// If it is not JSON of this form, is of another version, or has too many items.
    pub fn read(body: &[u8]) -> Result<Self> {
        let request: Self = serde_json::from_slice(body).context("cannot read the request")?;
        ensure!(
            request.version == VERSION,
            "the request is of version {}, not {VERSION}; run the same version of unigen on both sides",
            request.version
        );
        let items = request.items.len();
        ensure!(items <= MAX_ITEMS, "{items} items are more than {MAX_ITEMS}; send fewer at once");
        Ok(request)
    }
}

/// An [`Item`] as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireItem {
    /// A PNG (or JPEG, WebP, ..) file in base64.
    pub image: String,
    pub description: String,
    /// For an edit, the picture that was edited, in the same form as `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// The scores of each reward for each item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreResponse {
    pub version: u32,
    /// In the order of the request.
    pub rewards: Vec<WireScores>,
}

/// One reward, `{"name": .., "scores": [..]}` or `{"name": .., "error": ".."}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireScores {
    pub name: String,
    #[serde(flatten)]
    pub found: WireFound,
}

/// The scores of one reward, or the reason why there are none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireFound {
    /// In the order of the items.
    Scores(#[serde(deserialize_with = "each")] Vec<WireScore>),
    Error(String),
}

/// A score, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireScore {
    Score(f32),
    Error(String),
    /// What came in place of a score.
    #[serde(skip)]
    Unreadable(String),
}

/// Reads scores one by one, so that a score that cannot be read does not spoil the others.
fn each<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<WireScore>, D::Error> {
    let read = |value: Value| {
        WireScore::deserialize(&value)
            .unwrap_or_else(|_| WireScore::Unreadable(format!("{value} is not a score")))
    };
    Ok(Vec::<Value>::deserialize(from)?.into_iter().map(read).collect())
}

/// The reason why a request was not served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub version: u32,
    pub error: String,
}

impl WireItem {
    /// # Errors
    /// If a picture has no pixels.
    pub fn new(item: &Item) -> Result<Self> {
        Ok(Self {
            image: encode(&item.image)?,
            description: item.description.clone(),
            before: item.before.as_ref().map(encode).transpose()?,
        })
    }

    /// The item with decoded pictures. Their pixels are subtracted from `room`, the number that the request has left.
    ///
    /// # Errors
    /// If a picture is not base64, is not a picture, or is too large.
    pub fn open(self, room: &mut u64) -> Result<Item> {
        let mut open = |text: &str| decode(text, room);
        Ok(Item {
            image: open(&self.image).context("image")?,
            before: self.before.as_deref().map(open).transpose().context("before")?,
            description: self.description,
        })
    }
}

impl From<Score> for WireScore {
    fn from(score: Score) -> Self {
        match score {
            Ok(score) => Self::Score(score),
            Err(Missing(why)) => Self::Error(why),
        }
    }
}

impl From<WireScore> for Score {
    fn from(score: WireScore) -> Self {
        match score {
            WireScore::Score(score) => Ok(score),
            WireScore::Error(why) | WireScore::Unreadable(why) => Err(Missing(why)),
        }
    }
}

/// A PNG file in base64.
pub(super) fn encode(picture: &RgbImage) -> Result<String> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).context("cannot encode a picture")?;
    Ok(BASE64_STANDARD.encode(png.into_inner()))
}

fn decode(text: &str, room: &mut u64) -> Result<RgbImage> {
    let [most, _] = MAX_PIXELS;
    let picture =
        Picture::decode_within(&BASE64_STANDARD.decode(text).context("not base64")?, most.min(*room));
    let picture = picture.map_err(|e| match *room < most {
        true => Error::from(e).context("the earlier pictures of the request leave too little room"),
        false => e.into(),
    })?;
    *room -= u64::from(picture.width()) * u64::from(picture.height());
    Ok(picture)
}
