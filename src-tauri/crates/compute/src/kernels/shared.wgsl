// What the catalogue's kernels and the models have in common. `Real` is f32, or a vector for several rows at once.

// A running softmax sees one more value: what was summed so far is scaled by `keep`, the value counts `weight`, and no
// exponential exceeds one (Milakov and Gimelshein, arXiv 1805.02867).
struct Raised { most: Real, keep: Real, weight: Real }
fn raise(most: Real, value: Real) -> Raised {
    let raised = max(most, value);
    return Raised(raised, exp(most - raised), exp(value - raised));
}

// Before the first value: less than any, and finite.
const NOTHING: Real = Real(-3.4e38);
