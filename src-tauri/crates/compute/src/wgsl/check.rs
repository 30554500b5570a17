//! What a client's source may hold.

use super::OWN_GROUP;
use crate::Error;
use naga::{
    AddressSpace, Binding, Block, BuiltIn, Function, GlobalVariable, Module, ShaderStage, Statement, StorageAccess,
    TypeInner,
    valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator},
};
use tender_base::job::{Access, WgslWork};

/// Most memory that the variables of one invocation may take together, and the largest value an expression may have:
/// drivers give it to each of thousands of invocations at once.
const MAX_INVOCATION_BYTES: u64 = 64 << 10;
/// Most workgroup memory: WebGPU's guaranteed limit.
const MAX_WORKGROUP_BYTES: u64 = 16 << 10;

/// Most statements and expressions of the kernel when every call is replaced by the function's body, as drivers do. A
/// few lines in which each function calls the next one twice would otherwise be compiled and run 2³⁰ times, and fuel
/// counts no calls.
const MAX_INLINED: u64 = 200_000;

/// Parses the source and holds it against the declaration. What comes back has exactly one entry point.
///
/// # Errors
/// [`Error::Kernel`], with line and column where the source has one.
pub(super) fn check(source: &str, work: &WgslWork) -> Result<Module, Error> {
    let mut module = naga::front::wgsl::parse_str(source).map_err(|e| located(e.location(source), e.message()))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|e| located(e.location(source), &chain(e.as_inner())))?;
    let entry = module
        .entry_points
        .iter()
        .position(|e| e.name == work.entry)
        .ok_or_else(|| refuse(format!("the source has no entry point named {}", work.entry)))?;
    sizes(&module, &info, entry)?;
    module.entry_points = vec![module.entry_points.swap_remove(entry)];
    entry_point(&module, work)?;
    if !module.overrides.is_empty() {
        return Err(refuse("override constants cannot be set; use const"));
    }
    globals(&module, work)?;
    length(&module)?;
    Ok(module)
}

/// The kernel's length with all calls inlined.
fn length(module: &Module) -> Result<(), Error> {
    // A function can only call those that stand before it.
    let mut lengths: Vec<u64> = Vec::with_capacity(module.functions.len());
    for (_, function) in module.functions.iter() {
        let length = inlined(function, &lengths);
        lengths.push(length);
    }
    let whole: u64 = module.entry_points.iter().map(|entry| inlined(&entry.function, &lengths)).sum();
    if whole > MAX_INLINED {
        return Err(refuse(format!(
            "the kernel has {whole} operations when its calls are inlined; the limit is {MAX_INLINED}"
        )));
    }
    Ok(())
}

fn inlined(function: &Function, lengths: &[u64]) -> u64 {
    let expressions = u64::try_from(function.expressions.len()).unwrap_or(u64::MAX);
    expressions.saturating_add(statements(&function.body, lengths))
}

fn statements(block: &Block, lengths: &[u64]) -> u64 {
    block.iter().fold(0, |sum: u64, statement| {
        let inside = match statement {
            Statement::Block(block) => statements(block, lengths),
            Statement::If { accept, reject, .. } => {
                statements(accept, lengths).saturating_add(statements(reject, lengths))
            }
            Statement::Switch { cases, .. } => {
                cases.iter().fold(0, |sum: u64, case| sum.saturating_add(statements(&case.body, lengths)))
            }
            Statement::Loop { body, continuing, .. } => {
                statements(body, lengths).saturating_add(statements(continuing, lengths))
            }
            // The validator has refused calls of what comes later.
            Statement::Call { function, .. } => lengths.get(function.index()).copied().unwrap_or(u64::MAX),
            _ => 0,
        };
        sum.saturating_add(1).saturating_add(inside)
    })
}

fn entry_point(module: &Module, work: &WgslWork) -> Result<(), Error> {
    let Some(entry) = module.entry_points.first() else {
        return Err(refuse("the source has no entry point"));
    };
    if entry.stage != ShaderStage::Compute {
        return Err(refuse(format!("{} is no @compute entry point", entry.name)));
    }
    let size: u64 = entry.workgroup_size.iter().map(|&s| u64::from(s)).product();
    if entry.workgroup_size_overrides.is_some() || size != u64::from(work.workgroup_size) {
        let declared = work.workgroup_size;
        return Err(refuse(format!("@workgroup_size is {size} invocations, but workgroup_size declares {declared}")));
    }
    for argument in &entry.function.arguments {
        match (&argument.binding, &module.types[argument.ty].inner) {
            (None, TypeInner::Struct { members, .. }) => {
                members.iter().try_for_each(|m| built_in(m.binding.as_ref(), m.name.as_deref()))?;
            }
            (binding, _) => built_in(binding.as_ref(), argument.name.as_deref())?,
        }
    }
    Ok(())
}

/// Only the built-in values that are the same in whatever slices a grid runs.
fn built_in(binding: Option<&Binding>, name: Option<&str>) -> Result<(), Error> {
    match binding {
        Some(Binding::BuiltIn(
            BuiltIn::GlobalInvocationId
            | BuiltIn::LocalInvocationId
            | BuiltIn::LocalInvocationIndex
            | BuiltIn::WorkGroupId
            | BuiltIn::NumWorkGroups,
        )) => Ok(()),
        _ => {
            Err(refuse(format!("the entry point's argument {} is no built-in value of WGSL 1.0", name.unwrap_or("?"))))
        }
    }
}

fn globals(module: &Module, work: &WgslWork) -> Result<(), Error> {
    let mut bound = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let name = variable.name.as_deref().unwrap_or("a variable");
        match variable.space {
            AddressSpace::Storage { access } => {
                bound.push(buffer(module, work, name, variable, access)?);
            }
            AddressSpace::Private | AddressSpace::WorkGroup => {}
            AddressSpace::Handle => return Err(refuse(format!("{name} is a texture or sampler; only buffers exist"))),
            AddressSpace::Uniform => {
                return Err(refuse(format!("{name} is a uniform; declare it as var<storage, read>")));
            }
            _ => return Err(refuse(format!("{name} is in an address space that does not exist here"))),
        }
    }
    bound.sort_unstable();
    if let Some(twice) = bound.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(refuse(format!("two variables share @binding({})", twice[0])));
    }
    match work.buffers.iter().find(|b| !bound.contains(&b.binding)) {
        Some(missing) => Err(refuse(format!("the source has no storage variable at @binding({})", missing.binding))),
        None => Ok(()),
    }
}

/// The binding of a storage variable that agrees with its declaration.
fn buffer(
    module: &Module,
    work: &WgslWork,
    name: &str,
    variable: &GlobalVariable,
    access: StorageAccess,
) -> Result<u32, Error> {
    let Some(at) = variable.binding else {
        return Err(refuse(format!("{name} has no @group and @binding")));
    };
    if at.group != 0 {
        let note = if at.group == OWN_GROUP { ", which is Tender's own" } else { "" };
        return Err(refuse(format!("{name} is in @group({}){note}; buffers are in @group(0)", at.group)));
    }
    let Some(declared) = work.buffers.iter().find(|b| b.binding == at.binding) else {
        return Err(refuse(format!("{name} is at @binding({}), which buffers does not declare", at.binding)));
    };
    let writes = access.contains(StorageAccess::STORE);
    if writes != (declared.access == Access::Write) {
        let (is, says) = if writes { ("read_write", "read") } else { ("read", "write") };
        return Err(refuse(format!("{name} is var<storage, {is}>, but buffers declares access {says}")));
    }
    let needs = module.types[variable.ty].inner.size(module.to_ctx());
    if needs > declared.bytes {
        return Err(refuse(format!("{name} needs at least {needs} bytes, but buffers declares {}", declared.bytes)));
    }
    if has_atomic(module, &module.types[variable.ty].inner) {
        return Err(refuse(format!(
            "{name} holds atomics: results that depend on the order of workgroups cannot be checked; use var<workgroup>"
        )));
    }
    Ok(at.binding)
}

fn has_atomic(module: &Module, inner: &TypeInner) -> bool {
    match inner {
        TypeInner::Atomic(_) => true,
        TypeInner::Array { base, .. } => has_atomic(module, &module.types[*base].inner),
        TypeInner::Struct { members, .. } => members.iter().any(|m| has_atomic(module, &module.types[m.ty].inner)),
        _ => false,
    }
}

/// Memory of an invocation and of a workgroup.
fn sizes(module: &Module, info: &ModuleInfo, entry: usize) -> Result<(), Error> {
    let size = |ty| u64::from(module.types[ty].inner.size(module.to_ctx()));
    let space = |wanted| {
        module.global_variables.iter().filter(|(_, v)| v.space == wanted).map(|(_, v)| size(v.ty)).sum::<u64>()
    };
    let workgroup = space(AddressSpace::WorkGroup);
    if workgroup > MAX_WORKGROUP_BYTES {
        return Err(refuse(format!("var<workgroup> takes {workgroup} bytes; the limit is {MAX_WORKGROUP_BYTES}")));
    }
    let locals = |f: &Function| f.local_variables.iter().map(|(_, v)| size(v.ty)).sum::<u64>();
    let entries = module.entry_points.iter().map(|e| locals(&e.function)).sum::<u64>();
    let functions = module.functions.iter().map(|(_, f)| locals(f)).sum::<u64>();
    let invocation = space(AddressSpace::Private) + entries + functions;
    if invocation > MAX_INVOCATION_BYTES {
        return Err(refuse(format!(
            "private and function variables take {invocation} bytes per invocation; the limit is {MAX_INVOCATION_BYTES}"
        )));
    }
    // Values without a variable, such as array<f32, 100000>(), need memory as well.
    let too_large = |f: &Function, i: &FunctionInfo| {
        f.expressions.iter().any(|(e, _)| {
            let inner = i[e].ty.inner_with(&module.types);
            inner.pointer_space().is_none()
                && !matches!(f.expressions[e], naga::Expression::GlobalVariable(_))
                && u64::from(inner.size(module.to_ctx())) > MAX_INVOCATION_BYTES
        })
    };
    let constants = module
        .global_expressions
        .iter()
        .any(|(e, _)| u64::from(info[e].inner_with(&module.types).size(module.to_ctx())) > MAX_INVOCATION_BYTES);
    if constants
        || module.functions.iter().any(|(h, f)| too_large(f, &info[h]))
        || too_large(&module.entry_points[entry].function, info.get_entry_point(entry))
    {
        return Err(refuse(format!("an expression's value is larger than {MAX_INVOCATION_BYTES} bytes")));
    }
    Ok(())
}

fn refuse(why: impl Into<String>) -> Error {
    Error::Kernel(why.into())
}

fn located(location: Option<naga::SourceLocation>, why: &str) -> Error {
    match location {
        Some(at) => refuse(format!("line {}, column {}: {why}", at.line_number, at.line_position)),
        None => refuse(why),
    }
}

/// An error and all its causes: naga's outermost only says which function it is in.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
