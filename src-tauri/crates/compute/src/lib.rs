//! What a GPU runs: device, kernels, models, fuel metering; the binary tender-worker.
