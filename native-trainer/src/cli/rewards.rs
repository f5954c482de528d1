//! `unigen eval rewards` and `unigen serve-rewards`.

use super::WorldArgs;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use unigen_rewards::http::contract::TOKEN;
use unigen_rewards::http::{HttpSettings, Server};
use unigen_rewards::{Reward, RewardSettings, RewardSource};
use unigen_runs::DeviceChoice;
use unigen_runs::Interrupt;
use unigen_stickers::rewards::{Agreement, HeldOut, Role, open};

#[derive(Args)]
struct Rewards {
    /// Rewards as KIND=WHERE, separated by commas. WHERE is a folder for contrastive, preference, matcher, verifier,
    /// clip and hpsv2, and URL#NAME for judge-yes-no, judge-score and remote. nano=FOLDER stands for all four nano
    /// rewards
    #[arg(long, value_delimiter = ',', required = true)]
    rewards: Vec<String>,
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
}

impl Rewards {
    fn open(&self) -> Result<Vec<Box<dyn Reward>>> {
        let compute = self.device.open()?.into();
        let texts = self.rewards.iter().flat_map(|text| match text.strip_prefix("nano=") {
            Some(folder) => Role::NAMES.map(|kind| format!("{kind}={folder}")).to_vec(),
            None => vec![text.clone()],
        });
        let settings = texts.map(|text| -> Result<RewardSettings> {
            let source: RewardSource = text.parse()?;
            Ok(RewardSettings { source, weight: 1.0, http: HttpSettings::default() })
        });
        open(&settings.collect::<Result<Vec<_>>>()?, &compute)
    }
}

#[derive(Args)]
pub struct EvalRewards {
    #[command(flatten)]
    rewards: Rewards,
    /// Number of held-out pairs
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pairs: u64,
    /// Side of the pictures in pixels
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(16..=1024))]
    size: u32,
    #[command(flatten)]
    world: WorldArgs,
}

impl EvalRewards {
    pub fn run(&self) -> Result<ExitCode> {
        let rewards = self.rewards.open()?;
        let held_out = HeldOut::new(self.world.domain()?.scope, self.pairs, self.size);
        println!("{}", Agreement::head());
        for reward in rewards {
            println!("{}", held_out.agreement(&*reward));
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Args)]
pub struct ServeRewards {
    #[command(flatten)]
    rewards: Rewards,
    /// Address to listen on. 0.0.0.0 listens on all addresses of this machine; set a token in that case
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free port
    #[arg(long, default_value_t = 8600)]
    port: u16,
    /// Token that clients must send; they take it from their environment variable UNIGEN_REWARDS_TOKEN [default:
    /// UNIGEN_REWARDS_TOKEN of this machine, if it is set]
    #[arg(long)]
    token: Option<String>,
}

impl ServeRewards {
    pub fn run(&self) -> Result<ExitCode> {
        let token = self.token.clone().or_else(|| std::env::var(TOKEN).ok());
        let server = Server::bind(&self.host, self.port, self.rewards.open()?, token.as_deref())?;
        let interrupt = Interrupt::install()?;
        println!("rewards at http://{}; press Ctrl-C to stop", server.address()?);
        server.run(|| interrupt.requested())?;
        Ok(ExitCode::SUCCESS)
    }
}
