//! Rewrites a checked module so that it can be stopped and sliced, and so that a driver which ends a loop on its own
//! account is found out.
//!
//! *Fuel.* Every loop body begins with `if fuel == 0 { report; break; } fuel -= 1;` on a private counter, so that all
//! loops of an invocation together run at most `fuel` times; WGSL has no recursion, hence nothing else repeats. A loop
//! that ends by its condition also pays for the round in which it ends.
//!
//! *Truncation.* Mesa's CPU adapter ends loops silently once the invocations that it runs in lockstep (4 to 16
//! neighbours) have done 65,535 rounds, where a round counts once however many of them take part; from then on every
//! loop ends after its first round. Fuel counts per invocation and cannot see that: neighbours that loop one after the
//! other share the limit. So each invocation ends with a small loop of known outcome ([`probe`]), which such a driver
//! cuts short as well.
//!
//! *Trip counts.* Mesa up to at least 22.3 unrolls `i = 0; loop { i = i + 1; if i == 0 { break; } … }` into a single
//! round, because its arithmetic finds the end before the beginning. Every condition on which a `break`, `continue` or
//! `return` depends is therefore combined with a number that is zero at run time and that no compiler knows, and fuel
//! starts from such a number too: no trip count is known to the driver, and it leaves the loops as they are.
//!
//! *Grid.* The entry point becomes an ordinary function, called by a new one that adds the slice's first workgroup to
//! the built-in values.

use super::OWN_GROUP;
use crate::Error;
use naga::{
    Arena, AtomicFunction, BinaryOperator, Binding, Block, BuiltIn, EntryPoint, Expression, Function, GlobalVariable,
    Handle, Literal, LocalVariable, Module, Range, ResourceBinding, Scalar, ScalarKind, Span, Statement, StorageAccess,
    SwitchValue, Type, TypeInner, VectorSize,
};

/// Uniform `vec4<u32>`: first workgroup of the slice, workgroups of the grid, fuel, and a zero.
pub(super) const GRID_BINDING: u32 = 0;
/// Storage `atomic<u32>`: [`EXHAUSTED`] and [`TRUNCATED`].
pub(super) const REPORT_BINDING: u32 = 1;
/// Bit of the report: an invocation ran out of fuel.
pub(super) const EXHAUSTED: u32 = 1;
/// Bit of the report: the driver ended a loop before its end.
pub(super) const TRUNCATED: u32 = 2;

/// Rounds of the probe: one would be done even by a driver that ends every loop after its first.
const PROBE_ROUNDS: u32 = 3;

/// Meters the module and lets its only entry point run in slices.
pub(super) fn meter(mut module: Module) -> Result<Module, Error> {
    let u32_type = ty(&mut module, TypeInner::Scalar(Scalar::U32));
    let atomic = ty(&mut module, TypeInner::Atomic(Scalar::U32));
    let quad = ty(&mut module, TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::U32 });
    let mut global = |name: &str, space, binding, ty| {
        let binding = Option::map(binding, |binding| ResourceBinding { group: OWN_GROUP, binding });
        let variable = GlobalVariable {
            name: Some(name.to_owned()),
            space,
            binding,
            ty,
            init: None,
            memory_decorations: naga::MemoryDecorations::empty(),
        };
        module.global_variables.append(variable, Span::UNDEFINED)
    };
    let writable = naga::AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE };
    let meter = Meter {
        fuel: global("tender_fuel", naga::AddressSpace::Private, None, u32_type),
        report: global("tender_report", writable, Some(REPORT_BINDING), atomic),
        grid: global("tender_grid", naga::AddressSpace::Uniform, Some(GRID_BINDING), quad),
        u32_type,
    };
    for (_, function) in module.functions.iter_mut() {
        meter.function(function);
    }
    let Some(mut entry) = module.entry_points.pop() else {
        return Err(Error::Kernel("the source has no entry point".into()));
    };
    meter.function(&mut entry.function);
    let entry = wrap(&mut module, entry, &meter);
    module.entry_points.push(entry);
    Ok(module)
}

struct Meter {
    fuel: Handle<GlobalVariable>,
    report: Handle<GlobalVariable>,
    grid: Handle<GlobalVariable>,
    u32_type: Handle<Type>,
}

/// Expressions that a function needs once.
struct Shared {
    fuel: Handle<Expression>,
    report: Handle<Expression>,
    grid: Handle<Expression>,
    zero: Handle<Expression>,
    one: Handle<Expression>,
    exhausted: Handle<Expression>,
    truncated: Handle<Expression>,
}

impl Meter {
    fn shared(&self, expressions: &mut Arena<Expression>) -> Shared {
        let mut add = |e| expressions.append(e, Span::UNDEFINED);
        Shared {
            fuel: add(Expression::GlobalVariable(self.fuel)),
            report: add(Expression::GlobalVariable(self.report)),
            grid: add(Expression::GlobalVariable(self.grid)),
            zero: add(Expression::Literal(Literal::U32(0))),
            one: add(Expression::Literal(Literal::U32(1))),
            exhausted: add(Expression::Literal(Literal::U32(EXHAUSTED))),
            truncated: add(Expression::Literal(Literal::U32(TRUNCATED))),
        }
    }

    fn function(&self, function: &mut Function) {
        let shared = self.shared(&mut function.expressions);
        meter_block(&mut function.body, &mut function.expressions, &shared);
    }
}

fn meter_block(block: &mut Block, expressions: &mut Arena<Expression>, shared: &Shared) {
    let mut at = 0;
    while at < block.len() {
        match &mut block[at] {
            Statement::Block(inner) => meter_block(inner, expressions, shared),
            Statement::If { condition, accept, reject } => {
                meter_block(accept, expressions, shared);
                meter_block(reject, expressions, shared);
                if jumps(accept) || jumps(reject) {
                    let (emit, opaque) = unknown(*condition, expressions, shared);
                    *condition = opaque;
                    block.splice(at..at, Block::from_vec(vec![emit]));
                    at += 1;
                }
            }
            Statement::Switch { selector, cases } => {
                for case in cases.iter_mut() {
                    meter_block(&mut case.body, expressions, shared);
                }
                let signed = cases.iter().find_map(|case| match case.value {
                    SwitchValue::I32(_) => Some(true),
                    SwitchValue::U32(_) => Some(false),
                    SwitchValue::Default => None,
                });
                // Without a value to compare with, nothing depends on the selector.
                if let Some(signed) = signed.filter(|_| cases.iter().any(|case| jumps(&case.body))) {
                    let (emit, opaque) = unknown_number(*selector, signed, expressions, shared);
                    *selector = opaque;
                    block.splice(at..at, Block::from_vec(vec![emit]));
                    at += 1;
                }
            }
            Statement::Loop { body, continuing, break_if } => {
                meter_block(body, expressions, shared);
                meter_block(continuing, expressions, shared);
                body.splice(0..0, charge(expressions, shared));
                if let Some(condition) = break_if {
                    let (emit, opaque) = unknown(*condition, expressions, shared);
                    *condition = opaque;
                    continuing.push(emit, Span::UNDEFINED);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Whether something in the block ends a round, a loop or the function. Jumps inside of inner loops and those that leave
/// a switch count as well, to no harm.
fn jumps(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Break | Statement::Continue | Statement::Return { .. } => true,
        Statement::Block(inner) => jumps(inner),
        Statement::If { accept, reject, .. } => jumps(accept) || jumps(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| jumps(&case.body)),
        Statement::Loop { body, continuing, .. } => jumps(body) || jumps(continuing),
        _ => false,
    })
}

/// The same condition with a term that no compiler can evaluate, and what emits it.
fn unknown(
    condition: Handle<Expression>,
    expressions: &mut Arena<Expression>,
    shared: &Shared,
) -> (Statement, Handle<Expression>) {
    let mut add = |e| expressions.append(e, Span::UNDEFINED);
    let grid = add(Expression::Load { pointer: shared.grid });
    let number = add(Expression::AccessIndex { base: grid, index: 3 });
    let never = add(Expression::Binary { op: BinaryOperator::NotEqual, left: number, right: shared.zero });
    let same = add(Expression::Binary { op: BinaryOperator::NotEqual, left: condition, right: never });
    (Statement::Emit(Range::new_from_bounds(grid, same)), same)
}

/// The same number, with a zero that no compiler knows.
fn unknown_number(
    number: Handle<Expression>,
    signed: bool,
    expressions: &mut Arena<Expression>,
    shared: &Shared,
) -> (Statement, Handle<Expression>) {
    let mut add = |e| expressions.append(e, Span::UNDEFINED);
    let grid = add(Expression::Load { pointer: shared.grid });
    let mut zero = add(Expression::AccessIndex { base: grid, index: 3 });
    if signed {
        zero = add(Expression::As { expr: zero, kind: ScalarKind::Sint, convert: None });
    }
    let same = add(Expression::Binary { op: BinaryOperator::ExclusiveOr, left: number, right: zero });
    (Statement::Emit(Range::new_from_bounds(grid, same)), same)
}

/// `if fuel == 0 { report |= EXHAUSTED; break; } fuel -= 1;`
fn charge(expressions: &mut Arena<Expression>, shared: &Shared) -> Block {
    let mut add = |e| expressions.append(e, Span::UNDEFINED);
    let left = add(Expression::Load { pointer: shared.fuel });
    let empty = add(Expression::Binary { op: BinaryOperator::Equal, left, right: shared.zero });
    let less = add(Expression::Binary { op: BinaryOperator::Subtract, left, right: shared.one });
    Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(left, empty)),
        Statement::If {
            condition: empty,
            accept: Block::from_vec(vec![report(shared, shared.exhausted), Statement::Break]),
            reject: Block::new(),
        },
        Statement::Emit(Range::new_from_bounds(less, less)),
        Statement::Store { pointer: shared.fuel, value: less },
    ])
}

fn report(shared: &Shared, bit: Handle<Expression>) -> Statement {
    Statement::Atomic { pointer: shared.report, fun: AtomicFunction::InclusiveOr, value: bit, result: None }
}

/// `var n = 0; loop { if n == PROBE_ROUNDS + zero { break; } n += 1; } if n != PROBE_ROUNDS { report |= TRUNCATED; }`,
/// where `zero` is known at run time only.
fn probe(function: &mut Function, shared: &Shared, u32_type: Handle<Type>) -> Block {
    let counter = LocalVariable { name: Some("tender_probe".into()), ty: u32_type, init: Some(shared.zero) };
    let counter = function.local_variables.append(counter, Span::UNDEFINED);
    let mut add = |e| function.expressions.append(e, Span::UNDEFINED);
    let pointer = add(Expression::LocalVariable(counter));
    let rounds = add(Expression::Literal(Literal::U32(PROBE_ROUNDS)));
    let grid = add(Expression::Load { pointer: shared.grid });
    let number = add(Expression::AccessIndex { base: grid, index: 3 });
    let end = add(Expression::Binary { op: BinaryOperator::Add, left: rounds, right: number });
    let now = add(Expression::Load { pointer });
    let ended = add(Expression::Binary { op: BinaryOperator::Equal, left: now, right: end });
    let next = add(Expression::Binary { op: BinaryOperator::Add, left: now, right: shared.one });
    let last = add(Expression::Load { pointer });
    let short = add(Expression::Binary { op: BinaryOperator::NotEqual, left: last, right: rounds });
    let body = Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(now, ended)),
        Statement::If { condition: ended, accept: Block::from_vec(vec![Statement::Break]), reject: Block::new() },
        Statement::Emit(Range::new_from_bounds(next, next)),
        Statement::Store { pointer, value: next },
    ]);
    Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(grid, end)),
        Statement::Loop { body, continuing: Block::new(), break_if: None },
        Statement::Emit(Range::new_from_bounds(last, short)),
        Statement::If {
            condition: short,
            accept: Block::from_vec(vec![report(shared, shared.truncated)]),
            reject: Block::new(),
        },
    ])
}

/// An entry point that fills the tank, calls `entry` with the built-in values of the whole grid, and probes.
fn wrap(module: &mut Module, mut entry: EntryPoint, meter: &Meter) -> EntryPoint {
    let triple = ty(module, TypeInner::Vector { size: VectorSize::Tri, scalar: Scalar::U32 });
    let arguments = entry.function.arguments.clone();
    for argument in &mut entry.function.arguments {
        argument.binding = None;
    }
    let inner = module.functions.append(entry.function, Span::UNDEFINED);

    // Literals, arguments and variables may not be part of an `Emit`, so they come first.
    let mut expressions = Arena::new();
    let shared = meter.shared(&mut expressions);
    let mut add = |e| expressions.append(e, Span::UNDEFINED);
    let given: Vec<_> = (0..).zip(&arguments).map(|(i, _)| add(Expression::FunctionArgument(i))).collect();
    let width = add(Expression::Literal(Literal::U32(entry.workgroup_size[0])));
    let first_emitted = add(Expression::Load { pointer: shared.grid });
    let first = add(Expression::AccessIndex { base: first_emitted, index: 0 });
    let total = add(Expression::AccessIndex { base: first_emitted, index: 1 });
    let fuel = add(Expression::AccessIndex { base: first_emitted, index: 2 });
    let skipped = add(Expression::Binary { op: BinaryOperator::Multiply, left: first, right: width });
    let groups = add(Expression::Compose { ty: triple, components: vec![first, shared.zero, shared.zero] });
    let invocations = add(Expression::Compose { ty: triple, components: vec![skipped, shared.zero, shared.zero] });
    let size = add(Expression::Compose { ty: triple, components: vec![total, shared.one, shared.one] });
    let mut last_emitted = size;
    let shift = |expressions: &mut Arena<Expression>, value, binding: &Option<Binding>| {
        let offset = match binding {
            Some(Binding::BuiltIn(BuiltIn::WorkGroupId)) => groups,
            Some(Binding::BuiltIn(BuiltIn::GlobalInvocationId)) => invocations,
            Some(Binding::BuiltIn(BuiltIn::NumWorkGroups)) => return size,
            _ => return value,
        };
        let sum = Expression::Binary { op: BinaryOperator::Add, left: value, right: offset };
        expressions.append(sum, Span::UNDEFINED)
    };
    let mut passed = Vec::with_capacity(arguments.len());
    for (&value, argument) in given.iter().zip(&arguments) {
        let value = match (&argument.binding, &module.types[argument.ty].inner) {
            // Built-in values inside of a struct are taken out and put together again.
            (None, TypeInner::Struct { members, .. }) => {
                let mut components = Vec::with_capacity(members.len());
                for (index, member) in (0..).zip(members) {
                    let part = expressions.append(Expression::AccessIndex { base: value, index }, Span::UNDEFINED);
                    components.push(shift(&mut expressions, part, &member.binding));
                }
                expressions.append(Expression::Compose { ty: argument.ty, components }, Span::UNDEFINED)
            }
            (binding, _) => shift(&mut expressions, value, binding),
        };
        if value > last_emitted {
            last_emitted = value;
        }
        passed.push(value);
    }
    let mut function = Function { name: None, arguments, expressions, ..Function::default() };
    let mut body = Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(first_emitted, last_emitted)),
        Statement::Store { pointer: shared.fuel, value: fuel },
        Statement::Call { function: inner, arguments: passed, result: None },
    ]);
    let probe = probe(&mut function, &shared, meter.u32_type);
    body.extend_block(probe);
    body.push(Statement::Return { value: None }, Span::UNDEFINED);
    function.body = body;
    EntryPoint { function, ..entry }
}

fn ty(module: &mut Module, inner: TypeInner) -> Handle<Type> {
    module.types.insert(Type { name: None, inner }, Span::UNDEFINED)
}
