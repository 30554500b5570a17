//! Rewrites a checked module so that it can be stopped and sliced.
//!
//! *Fuel.* Every loop body begins with `if fuel == 0 { exhausted = 1; break; } fuel -= 1;` on a private counter, so
//! that all loops of an invocation together run at most `fuel` times; WGSL has no recursion, hence nothing else
//! repeats. A loop that ends by its condition also pays for the round in which it ends. Fewer would not do: Mesa's
//! CPU adapter counts like that when it silently stops loops after 65,535 rounds.
//!
//! *Grid.* The entry point becomes an ordinary function, called by a new one that adds the slice's first workgroup to
//! the built-in values.

use super::OWN_GROUP;
use crate::Error;
use naga::{
    Arena, AtomicFunction, BinaryOperator, Binding, Block, BuiltIn, EntryPoint, Expression, Function, GlobalVariable,
    Handle, Literal, Module, Range, ResourceBinding, Scalar, Span, Statement, StorageAccess, Type, TypeInner,
    VectorSize,
};

/// Uniform `vec4<u32>`: first workgroup of the slice, workgroups of the grid.
pub(super) const GRID_BINDING: u32 = 0;
/// Storage `atomic<u32>`: not zero when fuel ran out.
pub(super) const EXHAUSTED_BINDING: u32 = 1;

/// Meters the module and lets its only entry point run in slices.
pub(super) fn meter(mut module: Module, fuel: u32) -> Result<Module, Error> {
    let fuel = module.global_expressions.append(Expression::Literal(Literal::U32(fuel)), Span::UNDEFINED);
    let u32_type = ty(&mut module, TypeInner::Scalar(Scalar::U32));
    let atomic = ty(&mut module, TypeInner::Atomic(Scalar::U32));
    let quad = ty(&mut module, TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::U32 });
    let mut global = |name: &str, space, binding, ty, init| {
        let binding = Option::map(binding, |binding| ResourceBinding { group: OWN_GROUP, binding });
        let variable = GlobalVariable {
            name: Some(name.to_owned()),
            space,
            binding,
            ty,
            init,
            memory_decorations: naga::MemoryDecorations::empty(),
        };
        module.global_variables.append(variable, Span::UNDEFINED)
    };
    let writable = naga::AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE };
    let meter = Meter {
        fuel: global("tender_fuel", naga::AddressSpace::Private, None, u32_type, Some(fuel)),
        exhausted: global("tender_exhausted", writable, Some(EXHAUSTED_BINDING), atomic, None),
    };
    let grid = global("tender_grid", naga::AddressSpace::Uniform, Some(GRID_BINDING), quad, None);
    for (_, function) in module.functions.iter_mut() {
        meter.function(function);
    }
    let Some(mut entry) = module.entry_points.pop() else {
        return Err(Error::Kernel("the source has no entry point".into()));
    };
    meter.function(&mut entry.function);
    let entry = wrap(&mut module, entry, grid);
    module.entry_points.push(entry);
    Ok(module)
}

struct Meter {
    fuel: Handle<GlobalVariable>,
    exhausted: Handle<GlobalVariable>,
}

/// Expressions that a function needs once.
struct Shared {
    fuel: Handle<Expression>,
    exhausted: Handle<Expression>,
    zero: Handle<Expression>,
    one: Handle<Expression>,
}

impl Meter {
    fn function(&self, function: &mut Function) {
        let expressions = &mut function.expressions;
        let mut add = |e| expressions.append(e, Span::UNDEFINED);
        let shared = Shared {
            fuel: add(Expression::GlobalVariable(self.fuel)),
            exhausted: add(Expression::GlobalVariable(self.exhausted)),
            zero: add(Expression::Literal(Literal::U32(0))),
            one: add(Expression::Literal(Literal::U32(1))),
        };
        meter_block(&mut function.body, expressions, &shared);
    }
}

fn meter_block(block: &mut Block, expressions: &mut Arena<Expression>, shared: &Shared) {
    for statement in block.iter_mut() {
        match statement {
            Statement::Block(inner) => meter_block(inner, expressions, shared),
            Statement::If { accept, reject, .. } => {
                meter_block(accept, expressions, shared);
                meter_block(reject, expressions, shared);
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    meter_block(&mut case.body, expressions, shared);
                }
            }
            Statement::Loop { body, continuing, .. } => {
                meter_block(body, expressions, shared);
                meter_block(continuing, expressions, shared);
                body.splice(0..0, charge(expressions, shared));
            }
            _ => {}
        }
    }
}

/// `if fuel == 0 { exhausted = 1; break; } fuel -= 1;`
fn charge(expressions: &mut Arena<Expression>, shared: &Shared) -> Block {
    let mut add = |e| expressions.append(e, Span::UNDEFINED);
    let left = add(Expression::Load { pointer: shared.fuel });
    let empty = add(Expression::Binary { op: BinaryOperator::Equal, left, right: shared.zero });
    let less = add(Expression::Binary { op: BinaryOperator::Subtract, left, right: shared.one });
    let report = Statement::Atomic {
        pointer: shared.exhausted,
        fun: AtomicFunction::InclusiveOr,
        value: shared.one,
        result: None,
    };
    Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(left, empty)),
        Statement::If {
            condition: empty,
            accept: Block::from_vec(vec![report, Statement::Break]),
            reject: Block::new(),
        },
        Statement::Emit(Range::new_from_bounds(less, less)),
        Statement::Store { pointer: shared.fuel, value: less },
    ])
}

/// An entry point that calls `entry` with the built-in values of the whole grid.
fn wrap(module: &mut Module, mut entry: EntryPoint, grid: Handle<GlobalVariable>) -> EntryPoint {
    let triple = ty(module, TypeInner::Vector { size: VectorSize::Tri, scalar: Scalar::U32 });
    let arguments = entry.function.arguments.clone();
    for argument in &mut entry.function.arguments {
        argument.binding = None;
    }
    let inner = module.functions.append(entry.function, Span::UNDEFINED);

    // Literals, arguments and variables may not be part of an `Emit`, so they come first.
    let mut expressions = Arena::new();
    let mut add = |e| expressions.append(e, Span::UNDEFINED);
    let given: Vec<_> = (0..).zip(&arguments).map(|(i, _)| add(Expression::FunctionArgument(i))).collect();
    let zero = add(Expression::Literal(Literal::U32(0)));
    let one = add(Expression::Literal(Literal::U32(1)));
    let width = add(Expression::Literal(Literal::U32(entry.workgroup_size[0])));
    let pointer = add(Expression::GlobalVariable(grid));
    let first_emitted = add(Expression::Load { pointer });
    let first = add(Expression::AccessIndex { base: first_emitted, index: 0 });
    let total = add(Expression::AccessIndex { base: first_emitted, index: 1 });
    let skipped = add(Expression::Binary { op: BinaryOperator::Multiply, left: first, right: width });
    let groups = add(Expression::Compose { ty: triple, components: vec![first, zero, zero] });
    let invocations = add(Expression::Compose { ty: triple, components: vec![skipped, zero, zero] });
    let size = add(Expression::Compose { ty: triple, components: vec![total, one, one] });
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
    let body = Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(first_emitted, last_emitted)),
        Statement::Call { function: inner, arguments: passed, result: None },
        Statement::Return { value: None },
    ]);
    let function = Function { name: None, arguments, expressions, body, ..Function::default() };
    EntryPoint { function, ..entry }
}

fn ty(module: &mut Module, inner: TypeInner) -> Handle<Type> {
    module.types.insert(Type { name: None, inner }, Span::UNDEFINED)
}
