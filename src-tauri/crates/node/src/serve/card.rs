//! What the card says: what is for sale, what it runs on, and what was measured. Only what is known: a card of the
//! machine that no work has opened yet is not on it.

use crate::{contractor::PROPOSAL_VALID, models, node::Node, settings::Settings};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::PoisonError};
use tender_a2a::{
    card::{
        self, Availability, Benchmark, CardFacts, Offer, OfferedModel, Resource, ResourceKind, SkillFacts,
        SkillPredicates, Software,
    },
    wire::{AgentCard, AgentInterface, TRANSPORT_PROTOCOL_GRPC},
};
use tender_base::{JobKind, Problem, Sha256, Timestamp, kernel::Kernel};
use tender_store::Event;
use tokio::task::spawn_blocking;

/// Internal setting with [`Figures`].
pub(crate) const FIGURES: &str = "measured.card";

/// What was seen of the own worker's card and of its runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    adapter: Option<Adapter>,
    runs: BTreeMap<JobKind, Runs>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Adapter {
    name: String,
    backend: String,
    worker: String,
    /// Read from the device; none without its sensor.
    memory_bytes: Option<u64>,
}

/// Runs of a kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Runs {
    /// Units per second, as [`tender_market::cost::Throughput`] learns them: each run counts a quarter.
    per_second: f64,
    n: u64,
    last: Timestamp,
}

impl Node {
    /// Takes note of a finished run of the own worker, with the throughput that is known after it; returns what is to be
    /// stored. A run of less than a millisecond tells the adapter, and no throughput.
    pub(crate) async fn ran(&self, kind: JobKind, per_second: Option<f64>) -> Option<Event> {
        let adapter = self.adapter().await;
        let at = self.now();
        let figures = {
            let mut figures = self.figures.write().unwrap_or_else(PoisonError::into_inner);
            let before = figures.clone();
            figures.adapter = adapter.or(figures.adapter.take());
            if let Some(per_second) = per_second {
                let n = figures.runs.get(&kind).map_or(0, |runs| runs.n) + 1;
                figures.runs.insert(kind, Runs { per_second, n, last: at });
            }
            if *figures == before {
                return None;
            }
            figures.clone()
        };
        Some(Event::SettingChanged { key: FIGURES.to_owned(), value: serde_json::to_value(figures).ok()?, at })
    }

    fn figures(&self) -> Figures {
        self.figures.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the processor does the work, as far as a worker has told.
    pub(crate) fn works_on_processor(&self) -> bool {
        let name = self.engine.info().map(|worker| worker.adapter);
        name.or_else(|| Some(self.figures().adapter?.name)).is_some_and(|name| on_processor(&name))
    }

    /// As if a worker had opened this adapter in an earlier start.
    #[cfg(test)]
    pub(crate) fn works_with(&self, adapter: &str) {
        let known =
            Adapter { name: adapter.to_owned(), backend: String::new(), worker: String::new(), memory_bytes: None };
        self.figures.write().unwrap_or_else(PoisonError::into_inner).adapter = Some(known);
    }

    /// Longest that a yield takes, in milliseconds, once it was tested: on the adapter that works now and with its driver.
    pub(crate) fn promise_ms(&self) -> Option<u32> {
        let tested = self.lookout.last_test()?;
        let same = match self.engine.info() {
            Some(worker) => worker.adapter == tested.adapter && worker.driver == tested.driver,
            None => self.figures().adapter.is_none_or(|adapter| adapter.name == tested.adapter),
        };
        same.then(|| tested.promise_ms())
    }

    /// The adapter that the worker opened last.
    async fn adapter(&self) -> Option<Adapter> {
        let worker = self.engine.info()?;
        let known = self.figures().adapter.filter(|known| known.name == worker.adapter && known.memory_bytes.is_some());
        let memory_bytes = match known {
            Some(known) => known.memory_bytes,
            None => {
                let (name, chosen) = (worker.adapter.clone(), self.settings().sensor);
                let read = spawn_blocking(move || crate::metering::free_video_memory(&name, chosen.as_deref())).await;
                read.ok().flatten().map(|(_, total)| total)
            }
        };
        Some(Adapter { name: worker.adapter, backend: worker.backend, worker: worker.version, memory_bytes })
    }

    /// All that the card depends on but the clock: it is made anew when this changes.
    pub(super) fn on_the_card(&self) -> impl PartialEq + use<> {
        let settings = self.settings();
        let models = JobKind::ALL.map(|kind| self.for_sale(&settings, kind));
        (settings, models, self.figures(), self.willing(self.now()).is_ok(), self.promise_ms())
    }

    /// The signed card.
    pub(super) fn card(&self, tls_key_sha256: Option<Sha256>) -> Result<AgentCard, Problem> {
        let settings = self.settings();
        let selling = self.willing(self.now()).is_ok();
        let mut skills = Vec::new();
        for kind in JobKind::ALL.into_iter().filter(|_| selling) {
            let (rate, prompt_rate) = (settings.prices.rate(kind), settings.prices.prompt_rate(kind));
            match self.for_sale(&settings, kind) {
                None => skills.push(SkillFacts { kind, model: None, rate, prompt_rate }),
                Some(models) => {
                    skills.extend(models.into_iter().map(|model| SkillFacts {
                        kind,
                        model: Some(model),
                        rate,
                        prompt_rate,
                    }));
                }
            }
        }
        let grpc = settings.a2a_grpc;
        let mut card = card::build(&CardFacts {
            offer: self.offer(&settings, &skills, selling),
            name: settings.name,
            description: "Sells GPU computation under signed contracts.".to_owned(),
            url: format!("{}/", self.a2a_address),
            did: self.did(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tls_key_sha256,
            skills,
            successions: self.identity.successions.clone(),
        });
        if grpc {
            // Last, for clients that take the first that they know; the server answers where the card says so.
            card.supported_interfaces.push(AgentInterface::new(&self.a2a_address, TRANSPORT_PROTOCOL_GRPC));
        }
        card::sign(&mut card, self.identity.signer.as_ref())?;
        Ok(card)
    }

    fn offer(&self, settings: &Settings, sold: &[SkillFacts], selling: bool) -> Offer {
        if !selling {
            let resumes = self.sale(0).resumes_at;
            return Offer { availability: resumes.map(Availability::From), ..Offer::default() };
        }
        let Figures { adapter, runs } = self.figures();
        let mut software = vec![software("tender", env!("CARGO_PKG_VERSION"))];
        software.extend(adapter.iter().map(|adapter| self::software("tender-worker", &adapter.worker)));
        let mut skills: Vec<SkillPredicates> = Vec::new();
        for kind in JobKind::ALL {
            let mut of_kind = sold.iter().filter(|fact| fact.kind == kind).peekable();
            if of_kind.peek().is_none() {
                continue;
            }
            let models = of_kind
                .filter_map(|fact| fact.model.clone())
                .map(|model| OfferedModel { quantisation: self.quantisation(settings, &model.sha256), model });
            skills.push(SkillPredicates {
                skill: kind.name().to_owned(),
                models: models.collect(),
                kernels: if kind == JobKind::Kernel { Kernel::ALL.to_vec() } else { Vec::new() },
                software: software.clone(),
                protocols: vec!["a2a/1.0".to_owned(), "contract/v1".to_owned()],
            });
        }
        let benchmarks = runs.into_iter().map(|(kind, runs)| Benchmark {
            name: kind.name().to_owned(),
            unit: format!("{}/s", unit(kind)),
            value: three_digits(runs.per_second),
            measured_at: runs.last,
            n: runs.n,
        });
        Offer {
            resources: adapter.into_iter().map(resource).collect(),
            skills,
            benchmarks: benchmarks.collect(),
            availability: Some(Availability::Always),
            max_quote_seconds: u32::try_from(PROPOSAL_VALID.as_secs()).ok(),
            yield_ms: self.promise_ms(),
        }
    }

    /// How a model's weights are stored, as the catalogue, the file or the runtime says.
    fn quantisation(&self, settings: &Settings, model: &Sha256) -> Option<String> {
        models::quantisation(settings, model).or_else(|| self.quantisation_on_runtime(settings, model))
    }
}

fn software(name: &str, version: &str) -> Software {
    Software { name: name.to_owned(), version: version.to_owned() }
}

/// What a unit of such work is called.
pub(crate) fn unit(kind: JobKind) -> &'static str {
    use tender_base::Unit;
    match kind.unit() {
        Unit::Token => "token",
        Unit::Flop => "flop",
        Unit::Element => "element",
        Unit::Step => "step",
    }
}

/// Whether an adapter of this name is a program that computes on the processor: Mesa's, Google's or Microsoft's.
pub(crate) fn on_processor(adapter: &str) -> bool {
    ["llvmpipe", "SwiftShader", "Microsoft Basic Render Driver"].iter().any(|name| adapter.contains(name))
}

fn resource(adapter: Adapter) -> Resource {
    Resource {
        kind: if on_processor(&adapter.name) { ResourceKind::Cpu } else { ResourceKind::Gpu },
        vendor: vendor(&adapter.name).map(str::to_owned),
        class: adapter.name,
        memory_bytes: adapter.memory_bytes,
        api: adapter.backend,
        measured: adapter.memory_bytes.is_some(),
    }
}

/// The maker, where the adapter's name says it.
fn vendor(adapter: &str) -> Option<&'static str> {
    const MAKERS: [(&str, &str); 9] = [
        ("NVIDIA", "NVIDIA"),
        ("GeForce", "NVIDIA"),
        ("AMD", "AMD"),
        ("Radeon", "AMD"),
        ("Intel", "Intel"),
        ("Apple", "Apple"),
        ("Adreno", "Qualcomm"),
        ("Mali", "Arm"),
        ("llvmpipe", "Mesa"),
    ];
    MAKERS.iter().find(|(word, _)| adapter.contains(word)).map(|(_, maker)| *maker)
}

/// More digits would claim what no measurement here has.
fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_hardware_is_named_as_far_as_it_is_known() {
        assert_eq!(three_digits(5_199_123_456_789.0), 5.2e12);
        assert_eq!(three_digits(12.345), 12.3);
        let adapter = |name: &str, memory_bytes| {
            let (backend, worker) = ("vulkan".to_owned(), "0.1.0".to_owned());
            resource(Adapter { name: name.to_owned(), backend, worker, memory_bytes })
        };
        let card = adapter("NVIDIA GeForce RTX 4080", Some(17_171_480_576));
        assert_eq!((card.kind, card.vendor.as_deref(), card.measured), (ResourceKind::Gpu, Some("NVIDIA"), true));
        let software = adapter("llvmpipe (LLVM 15.0.6, 256 bits)", None);
        assert_eq!((software.kind, software.memory_bytes, software.measured), (ResourceKind::Cpu, None, false));
        assert_eq!(adapter("Unheard-of 9000", None).vendor, None);
    }
}
