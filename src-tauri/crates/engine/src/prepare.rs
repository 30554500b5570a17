//! From an order to the request that the worker gets.

use crate::{Order, text::TextOrder};
use std::path::Path;
use tender_base::{Code, Problem, Work, frames::Request};

/// Bytes of one embedding: 384 little-endian f32.
const EMBEDDING_BYTES: u64 = 384 * 4;

/// The request for an order and the exact length of its output.
pub(crate) fn prepare(order: &Order) -> Result<(Request, u64), Problem> {
    let invalid = |message: &str| Err(Problem::new(Code::Invalid, message, "correct the job and submit it again"));
    let (model_dir, model_sha256) = match (&order.work, &order.model) {
        (Work::Embed { model, .. }, Some(folder)) => (Some(text_of(folder)?), Some(model.sha256)),
        (Work::Embed { model, .. }, None) => return Err(no_model(&model.name)),
        _ => (None, None),
    };
    let expected = match (&order.parts, &order.work) {
        (None, work) => work.max_output_bytes(),
        (Some(parts), _) if parts.is_empty() => return invalid("parts names no part"),
        (Some(parts), Work::Embed { passages, .. }) if parts.iter().all(|part| part < passages) => {
            parts.len() as u64 * EMBEDDING_BYTES
        }
        (Some(parts), Work::Kernel(kernel)) if parts.iter().all(|part| *part < kernel.rows) => {
            parts.len() as u64 * kernel.row_bytes()
        }
        (Some(parts), Work::Wgsl(kernel)) if parts.iter().all(|part| *part < kernel.workgroups) => {
            parts.len() as u64 * (order.work.max_output_bytes() / u64::from(kernel.workgroups))
        }
        (Some(_), Work::Gemm { .. }) => return invalid("a matrix product has no parts"),
        (Some(_), _) => return invalid("parts names one that the work does not have"),
    };
    let request = Request::Run { work: order.work.clone(), model_dir, model_sha256, parts: order.parts.clone() };
    Ok((request, expected))
}

/// Parts of an order, for its progress.
pub(crate) fn total(order: &Order) -> u32 {
    match (&order.parts, &order.work) {
        (Some(parts), _) => u32::try_from(parts.len()).unwrap_or(u32::MAX),
        (None, Work::Embed { passages, .. }) => *passages,
        (None, Work::Kernel(kernel)) => kernel.rows,
        (None, Work::Wgsl(kernel)) => kernel.workgroups,
        (None, Work::Gemm { .. } | Work::Generate(_)) => 1,
    }
}

pub(crate) fn no_model(name: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("the model {name} is not on this machine"),
        "fetch the model, or choose one that `tender doctor` lists",
    )
}

/// A text as the text worker gets it.
pub(crate) fn text_order(order: Order) -> Result<TextOrder, Problem> {
    let Work::Generate(work) = order.work else {
        return Err(Problem::new(Code::Invalid, "only text is judged by its tokens", "check other work by its parts"));
    };
    let Some(path) = order.model else { return Err(no_model(&work.model.name)) };
    let model = (path, work.model.sha256);
    Ok(TextOrder { model, work, prompt: order.input, wall_limit: order.wall_limit, tenant: order.tenant })
}

/// A path as the worker gets it: absolute, since the worker runs elsewhere.
pub(crate) fn text_of(path: &Path) -> Result<String, Problem> {
    let absolute = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    absolute.ok_or_else(|| {
        Problem::new(
            Code::Invalid,
            format!("the folder {} cannot be named in UTF-8", path.display()),
            "move it to a folder with a plain name",
        )
    })
}
