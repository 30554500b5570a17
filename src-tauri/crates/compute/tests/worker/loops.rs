//! Loops, against an interpreter: whatever a kernel's loops look like, its output is right or the job fails.
//!
//! Mesa's CPU driver is known to unroll some loops wrongly and to end long ones early; see `wgsl/meter.rs`.

use super::wgsl::{run, words, work};
use crate::open;
use proptest::prelude::*;
use std::fmt::Write as _;
use tender_compute::Error;

/// Invocations of the one workgroup.
const LANES: u32 = 16;
/// Variables of a program, besides the accumulator that is its result.
const VARIABLES: usize = 3;
/// Deepest nesting of blocks.
const DEEPEST: u32 = 4;

#[derive(Clone, Debug)]
enum Value {
    Constant(u32),
    Variable(usize),
    Id,
    Add(Box<Value>, Box<Value>),
    Subtract(Box<Value>, Box<Value>),
    Multiply(Box<Value>, Box<Value>),
    Xor(Box<Value>, Box<Value>),
    Low(Box<Value>),
}

#[derive(Clone, Debug)]
enum Test {
    Equal(Value, Value),
    Different(Value, Value),
    Less(Value, Value),
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, Value),
    Emit(Value),
    If(Test, Vec<Step>, Vec<Step>),
    For(usize, u32, Vec<Step>),
    While(Test, Vec<Step>),
    Loop(Vec<Step>, Vec<Step>, Option<Test>),
    Switch(Value, [Vec<Step>; 3]),
    Break,
    Continue,
    Return,
}

/// Choices, from what proptest draws and shrinks. Where it ends, everything is the simplest.
struct Tape<'a>(std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn below(&mut self, n: u8) -> u8 {
        self.0.next().map_or(0, |byte| byte % n)
    }

    fn constant(&mut self) -> u32 {
        match self.below(8) {
            0 => 0,
            1 => u32::MAX,
            2 => u32::MAX - u32::from(self.below(4)),
            _ => u32::from(self.below(40)),
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        let variable = |tape: &mut Self| Value::Variable(usize::from(tape.below(VARIABLES as u8)));
        if depth == 0 {
            return if self.below(2) == 0 { Value::Constant(self.constant()) } else { variable(self) };
        }
        let pair = |tape: &mut Self| (Box::new(tape.value(depth - 1)), Box::new(tape.value(depth - 1)));
        match self.below(9) {
            0 | 1 => Value::Constant(self.constant()),
            2 => Value::Id,
            3 => pair(self).join(Value::Add),
            4 => pair(self).join(Value::Subtract),
            5 => pair(self).join(Value::Multiply),
            6 => pair(self).join(Value::Xor),
            7 => Value::Low(Box::new(self.value(depth - 1))),
            _ => variable(self),
        }
    }

    fn test(&mut self) -> Test {
        let (a, b) = (self.value(1), self.value(1));
        match self.below(3) {
            0 => Test::Equal(a, b),
            1 => Test::Different(a, b),
            _ => Test::Less(a, b),
        }
    }

    fn steps(&mut self, depth: u32, in_loop: bool) -> Vec<Step> {
        let count = self.below(4);
        let mut steps: Vec<Step> = (0..count).map(|_| self.step(depth, in_loop)).collect();
        if in_loop && self.below(3) == 1 {
            // A jump is the last statement of its block.
            let jump = [Step::Break, Step::Continue, Step::Return][usize::from(self.below(3))].clone();
            let test = self.test();
            let branches = (vec![jump], Vec::new());
            let (yes, no) = if self.below(2) == 0 { branches } else { (branches.1, branches.0) };
            steps.push(Step::If(test, yes, no));
            if self.below(6) == 5 {
                steps.push(Step::Break);
            }
        }
        steps
    }

    fn step(&mut self, depth: u32, in_loop: bool) -> Step {
        let variable = usize::from(self.below(VARIABLES as u8));
        if depth == 0 {
            return if self.below(2) == 0 { Step::Emit(self.value(2)) } else { Step::Set(variable, self.value(2)) };
        }
        match self.below(9) {
            0 => Step::Emit(self.value(2)),
            1 => Step::Set(variable, self.value(2)),
            8 => Step::Switch(self.value(1), std::array::from_fn(|_| self.steps(depth - 1, in_loop))),
            2 => {
                let test = self.test();
                Step::If(test, self.steps(depth - 1, in_loop), self.steps(depth - 1, in_loop))
            }
            3 | 4 => Step::For(variable, u32::from(self.below(30)), self.steps(depth - 1, true)),
            5 => Step::While(self.test(), self.steps(depth - 1, true)),
            _ => {
                let body = self.steps(depth - 1, true);
                // No jump leaves a continuing block.
                let continuing = self.steps(0, false);
                let until = (self.below(2) == 1).then(|| self.test());
                Step::Loop(body, continuing, until)
            }
        }
    }
}

trait Join<T> {
    fn join(self, with: fn(T, T) -> Value) -> Value;
}

impl<T> Join<T> for (T, T) {
    fn join(self, with: fn(T, T) -> Value) -> Value {
        with(self.0, self.1)
    }
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Constant(n) => format!("{n}u"),
        Value::Variable(v) => format!("v{v}"),
        Value::Id => "id.x".to_owned(),
        // Wrapping in constant expressions is an error in WGSL; with `id.x & 0u` nothing is constant.
        Value::Add(a, b) => format!("({} + ({} + (id.x & 0u)))", show_value(a), show_value(b)),
        Value::Subtract(a, b) => format!("(({} + (id.x & 0u)) - {})", show_value(a), show_value(b)),
        Value::Multiply(a, b) => format!("({} * ({} + (id.x & 0u)))", show_value(a), show_value(b)),
        Value::Xor(a, b) => format!("({} ^ {})", show_value(a), show_value(b)),
        Value::Low(a) => format!("({} & 15u)", show_value(a)),
    }
}

fn show_test(test: &Test) -> String {
    match test {
        Test::Equal(a, b) => format!("{} == {}", show_value(a), show_value(b)),
        Test::Different(a, b) => format!("{} != {}", show_value(a), show_value(b)),
        Test::Less(a, b) => format!("({} < {})", show_value(a), show_value(b)),
    }
}

fn show(steps: &[Step], text: &mut String) {
    for step in steps {
        match step {
            Step::Set(v, value) => writeln!(text, "v{v} = {};", show_value(value)).unwrap(),
            Step::Emit(value) => writeln!(text, "sum = sum * 31u + {};", show_value(value)).unwrap(),
            Step::If(test, yes, no) => {
                writeln!(text, "if {} {{", show_test(test)).unwrap();
                show(yes, text);
                text.push_str("} else {\n");
                show(no, text);
                text.push_str("}\n");
            }
            Step::For(v, end, body) => {
                writeln!(text, "for (v{v} = 0u; v{v} < {end}u; v{v}++) {{").unwrap();
                show(body, text);
                text.push_str("}\n");
            }
            Step::While(test, body) => {
                writeln!(text, "while {} {{", show_test(test)).unwrap();
                show(body, text);
                text.push_str("}\n");
            }
            Step::Loop(body, continuing, until) => {
                text.push_str("loop {\n");
                show(body, text);
                text.push_str("continuing {\n");
                show(continuing, text);
                if let Some(test) = until {
                    writeln!(text, "break if {};", show_test(test)).unwrap();
                }
                text.push_str("}\n}\n");
            }
            Step::Switch(value, [zero, some, rest]) => {
                writeln!(text, "switch {} {{ case 0u: {{", show_value(value)).unwrap();
                show(zero, text);
                text.push_str("}\ncase 1u, 4294967295u: {\n");
                show(some, text);
                text.push_str("}\ndefault: {\n");
                show(rest, text);
                text.push_str("}\n}\n");
            }
            Step::Break => text.push_str("break;\n"),
            Step::Continue => text.push_str("continue;\n"),
            Step::Return => text.push_str("return sum;\n"),
        }
    }
}

/// One invocation.
struct Lane {
    id: u32,
    variables: [u32; VARIABLES],
    sum: u32,
    fuel: u32,
}

enum Flow {
    Next,
    Break,
    Continue,
    Return,
}

struct Exhausted;

impl Lane {
    fn value(&self, value: &Value) -> u32 {
        match value {
            Value::Constant(n) => *n,
            Value::Variable(v) => self.variables[*v],
            Value::Id => self.id,
            Value::Add(a, b) => self.value(a).wrapping_add(self.value(b)),
            Value::Subtract(a, b) => self.value(a).wrapping_sub(self.value(b)),
            Value::Multiply(a, b) => self.value(a).wrapping_mul(self.value(b)),
            Value::Xor(a, b) => self.value(a) ^ self.value(b),
            Value::Low(a) => self.value(a) & 15,
        }
    }

    fn test(&self, test: &Test) -> bool {
        match test {
            Test::Equal(a, b) => self.value(a) == self.value(b),
            Test::Different(a, b) => self.value(a) != self.value(b),
            Test::Less(a, b) => self.value(a) < self.value(b),
        }
    }

    fn charge(&mut self) -> Result<(), Exhausted> {
        self.fuel = self.fuel.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    fn steps(&mut self, steps: &[Step]) -> Result<Flow, Exhausted> {
        for step in steps {
            match step {
                Step::Set(v, value) => self.variables[*v] = self.value(value),
                Step::Emit(value) => self.sum = self.sum.wrapping_mul(31).wrapping_add(self.value(value)),
                Step::If(test, yes, no) => {
                    let taken = if self.test(test) { yes } else { no };
                    match self.steps(taken)? {
                        Flow::Next => {}
                        jump => return Ok(jump),
                    }
                }
                Step::For(v, end, body) => {
                    self.variables[*v] = 0;
                    loop {
                        self.charge()?;
                        if self.variables[*v] >= *end {
                            break;
                        }
                        match self.steps(body)? {
                            Flow::Break => break,
                            Flow::Return => return Ok(Flow::Return),
                            Flow::Next | Flow::Continue => {}
                        }
                        self.variables[*v] = self.variables[*v].wrapping_add(1);
                    }
                }
                Step::While(test, body) => loop {
                    self.charge()?;
                    if !self.test(test) {
                        break;
                    }
                    match self.steps(body)? {
                        Flow::Break => break,
                        Flow::Return => return Ok(Flow::Return),
                        Flow::Next | Flow::Continue => {}
                    }
                },
                Step::Loop(body, continuing, until) => loop {
                    self.charge()?;
                    match self.steps(body)? {
                        Flow::Break => break,
                        Flow::Return => return Ok(Flow::Return),
                        Flow::Next | Flow::Continue => {}
                    }
                    self.steps(continuing)?;
                    if until.as_ref().is_some_and(|test| self.test(test)) {
                        break;
                    }
                },
                Step::Switch(value, [zero, some, rest]) => {
                    let taken = match self.value(value) {
                        0 => zero,
                        1 | u32::MAX => some,
                        _ => rest,
                    };
                    match self.steps(taken)? {
                        // It leaves the switch.
                        Flow::Next | Flow::Break => {}
                        jump => return Ok(jump),
                    }
                }
                Step::Break => return Ok(Flow::Break),
                Step::Continue => return Ok(Flow::Continue),
                Step::Return => return Ok(Flow::Return),
            }
        }
        Ok(Flow::Next)
    }
}

/// What every invocation comes to; `None` when one needs more fuel.
fn interpret(program: &[Step], fuel: u32) -> Option<Vec<u32>> {
    (0..LANES)
        .map(|id| {
            let mut lane = Lane { id, variables: [0; VARIABLES], sum: 0, fuel };
            lane.steps(program).ok().map(|_| lane.sum)
        })
        .collect()
}

fn source(body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
fn program(id: vec3<u32>) -> u32 {{
var sum = 0u;
var v0 = 0u;
var v1 = 0u;
var v2 = 0u;
{body}
return sum;
}}
@compute @workgroup_size({LANES})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
out[id.x] = program(id);
}}"
    )
}

/// The fault that was found by hand: the driver's arithmetic took the end of the loop for its beginning.
#[test]
fn a_loop_that_only_ends_by_wrapping_around_exhausts_its_fuel() {
    let (gpu, _) = open();
    for body in [
        "loop { v0 = v0 + 1u; if v0 == 0u { break; } sum = v0; }",
        "loop { v0 = v0 + 1u; sum = v0; if v0 == 0u { break; } }",
        "loop { sum += 1u; continuing { v0 = v0 + 1u; break if v0 == 0u; } }",
        "loop { v0 = v0 - 1u; if v0 == 4294967295u - 70000u { break; } sum += 1u; }",
        "loop { v0 = v0 + 1u; if v0 == 0u { return 1u; } sum = v0; }",
        "loop { v0 = v0 + 1u; switch v0 { case 0u: { return 1u; } default: { sum = v0; } } }",
        "loop { v0 = v0 + 1u; switch i32(v0) { case 0: { return 1u; } default: { sum = v0; } } }",
        "loop { v0 = v0 + 1u; sum = v0; if v0 != 0u { continue; } break; }",
        "loop { v0 = v0 + 2u; { if v0 == 0u { { break; } } } sum += 1u; }",
    ] {
        let source = source(body);
        let outcome = run(&gpu, &source, &work(&source, 1, LANES, 60_000, LANES * 4), None);
        assert!(matches!(outcome, Err(Error::FuelExhausted(_))), "{body}: {outcome:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Fuel is low enough that no driver's own limit on loops plays a part: the result is exact, or fuel ran out, and
    /// which of the two is exact as well.
    #[test]
    fn random_programs_do_what_they_say_or_run_out_of_fuel(
        tape in prop::collection::vec(any::<u8>(), 10..160),
        fuel in 1_u32..3000,
    ) {
        let program = Tape(tape.iter()).steps(DEEPEST, false);
        let mut body = String::new();
        show(&program, &mut body);
        let source = source(&body);
        let outcome = run(&open().0, &source, &work(&source, 1, LANES, fuel, LANES * 4), None);
        match interpret(&program, fuel) {
            Some(expected) => prop_assert_eq!(words(&outcome.unwrap_or_else(|e| panic!("{e}\n{source}"))), expected, "{}", source),
            None => prop_assert!(matches!(outcome, Err(Error::FuelExhausted(_))), "{source}\n{outcome:?}"),
        }
    }

    /// Neighbours that loop one after the other share the driver's limit, which their fuel does not show: the result
    /// is exact or the job fails, and it does not fail where every driver has room.
    #[test]
    fn neighbours_that_take_turns_are_right_or_truncated(rounds in 100_u32..12_000, stride in 1_u32..=4) {
        let body = format!(
            "for (v0 = 0u; v0 < {LANES}u; v0 += {stride}u) {{
                if id.x == v0 {{ for (v1 = 0u; v1 < {rounds}u; v1++) {{ sum += v1; }} }}
            }}"
        );
        let source = source(&body);
        let triangle = (0..rounds).fold(0_u32, |sum, n| sum.wrapping_add(n));
        let expected: Vec<u32> = (0..LANES).map(|id| if id % stride == 0 { triangle } else { 0 }).collect();
        match run(&open().0, &source, &work(&source, 1, LANES, 60_000, LANES * 4), None) {
            Ok(out) => prop_assert_eq!(words(&out), expected),
            Err(Error::Truncated) => prop_assert!(rounds * LANES.div_ceil(stride) > 60_000, "{rounds} rounds, {stride}"),
            Err(other) => panic!("{other}"),
        }
    }
}
