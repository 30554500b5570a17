//! What a model file is, said before it is loaded.

use super::{config::Config, gguf::Gguf, template::Template, vocab::Vocab};
use crate::Error;
use std::{collections::BTreeMap, path::Path};
use tender_base::catalogue::{Footprint, ModelFacts};

/// Reads what the file says about itself: its header, its tokens and its template, not its weights.
///
/// # Errors
/// [`Error::ModelFile`] when it is broken, [`Error::ModelUnsupported`] naming what this version does not compute.
pub fn inspect(path: &Path) -> Result<ModelFacts, Error> {
    let gguf = Gguf::open(path)?;
    let config = Config::read(&gguf)?;
    Vocab::read(&gguf)?;
    let mut formats = BTreeMap::<&str, u64>::new();
    for tensor in gguf.tensors() {
        // Each tensor lies in the file, so that the sum of all is far from overflowing.
        *formats.entry(tensor.format.name()).or_default() += tensor.shape.iter().product::<u64>();
    }
    let mut formats: Vec<(String, u64)> = formats.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    formats.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(ModelFacts {
        architecture: config.architecture.name().to_owned(),
        parameters: formats.iter().map(|(_, count)| count).sum(),
        layers: config.layers,
        footprint: Footprint {
            weight_bytes: config.weight_bytes,
            cache_bytes_per_token: config.cache_bytes_per_token(),
            vocabulary: config.vocabulary,
            context_tokens: config.context,
        },
        formats,
        chat_template: Template::read(&gguf)?.is_some(),
    })
}
