//! Numbers from outside are looked at once, and a wrong one is refused by the name of its field.

use tender_base::{Code, Problem};

/// `value` of the field `name`, when it is finite and above zero.
///
/// # Errors
/// [`Code::Invalid`], naming the field.
pub fn positive(name: &str, value: f64) -> Result<f64, Problem> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(refused(name, value, "a number above 0")) }
}

/// `value` of the field `name`, when it is finite and not negative.
///
/// # Errors
/// [`Code::Invalid`], naming the field.
pub fn not_negative(name: &str, value: f64) -> Result<f64, Problem> {
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(refused(name, value, "0 or a number above it")) }
}

/// `value` of the field `name`, when it lies from `least` to `most`.
///
/// # Errors
/// [`Code::Invalid`], naming the field.
pub fn within(name: &str, value: f64, least: f64, most: f64) -> Result<f64, Problem> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(refused(name, value, &format!("a number from {least} to {most}")))
    }
}

/// `value` of the field `name`, when it is above 0 and at most 1.
///
/// # Errors
/// [`Code::Invalid`], naming the field.
pub fn fraction(name: &str, value: f64) -> Result<f64, Problem> {
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err(refused(name, value, "a number above 0 and at most 1")) }
}

/// A computed `value` that must be finite: inputs that are each in range can still overflow together.
///
/// # Errors
/// [`Code::Invalid`], naming the result.
pub fn finite(name: &str, value: f64) -> Result<f64, Problem> {
    if value.is_finite() { Ok(value) } else { Err(refused(name, value, "a finite number; the inputs are too large")) }
}

fn refused(name: &str, value: f64, wanted: &str) -> Problem {
    Problem::new(Code::Invalid, format!("{name} is {value}"), format!("give {name} as {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_is_refused_by_its_name() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            for problem in [
                positive("tariff", bad),
                not_negative("tariff", bad),
                within("tariff", bad, 0.0, 1.0),
                fraction("tariff", bad),
            ] {
                let problem = problem.unwrap_err();
                assert!(problem.message.contains("tariff") && problem.hint.contains("tariff"), "{problem}");
            }
        }
        assert!(positive("x", 0.0).is_err() && not_negative("x", 0.0).is_ok() && within("x", 1.0, 0.0, 1.0).is_ok());
    }
}
