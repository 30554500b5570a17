"""cuBLAS as a peer for matrix products on an NVIDIA card.

It reads one JSON request per line from standard input and answers each by one line on standard output, in order. The
first line it prints says what was found; it ends with its input.

  {"op": "gemm", "m": 4096, "k": 4096, "n": 4096, "type": "f32", "runs": 5}
      -> {"gflops": {"median", "values"}, "max_error": the largest relative error of 64 elements against f64}

f32 runs without TF32; f16 multiplies f16 and sums in f32. `cargo xtask peers` installs what this needs when there is an
NVIDIA driver. Nothing but Python's own library and NVIDIA's is used, so that what is measured is cuBLAS.

Not yet run on a card: none was at hand when it was written.
"""

import ctypes
import json
import os
import pathlib
import random
import statistics
import struct
import sys
import sysconfig

# Before cuBLAS is loaded: it must never trade precision for speed.
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"

# Values of cublas_api.h, library_types.h and driver_types.h.
OP_N = 0
DEFAULT_MATH = 0
R_32F, R_16F = 0, 2
COMPUTE_32F = 68
GEMM_DEFAULT = -1
TO_DEVICE, TO_HOST = 1, 2
# Shortest measured stretch; below, the clock of the events and the launch count too much.
STRETCH_MS = 50.0


def library(package, name):
    """A library of NVIDIA's wheels."""
    path = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia" / package / "lib" / name
    if not path.exists():
        raise RuntimeError(f"{name} is not installed: run `cargo xtask peers` on a machine with an NVIDIA driver")
    return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def checked(status, what):
    if status != 0:
        raise RuntimeError(f"{what} failed with status {status}")


class Cublas:
    def __init__(self):
        try:
            self.driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise RuntimeError(f"there is no NVIDIA driver: {error}") from error
        checked(self.driver.cuInit(0), "cuInit")
        self.runtime = library("cuda_runtime", "libcudart.so.12")
        library("cublas", "libcublasLt.so.12")
        self.blas = library("cublas", "libcublas.so.12")
        self.handle = ctypes.c_void_p()
        checked(self.blas.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")
        checked(self.blas.cublasSetMathMode(self.handle, DEFAULT_MATH), "cublasSetMathMode")
        self.runtime.cudaMalloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self.runtime.cudaMemcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self.runtime.cudaFree.argtypes = [ctypes.c_void_p]

    def info(self):
        name, version, driver = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
        checked(self.driver.cuDeviceGetName(name, 256, 0), "cuDeviceGetName")
        checked(self.driver.cuDriverGetVersion(ctypes.byref(driver)), "cuDriverGetVersion")
        checked(self.blas.cublasGetVersion_v2(self.handle, ctypes.byref(version)), "cublasGetVersion")
        return {
            "engine": "cuBLAS",
            "build": str(version.value),
            "adapter": name.value.decode(),
            "driver": f"CUDA {driver.value // 1000}.{driver.value % 1000 // 10}",
            "tf32": False,
        }

    def upload(self, data):
        place = ctypes.c_void_p()
        checked(self.runtime.cudaMalloc(ctypes.byref(place), len(data)), "cudaMalloc")
        source = (ctypes.c_char * len(data)).from_buffer_copy(data)
        checked(self.runtime.cudaMemcpy(place, source, len(data), TO_DEVICE), "cudaMemcpy")
        return place

    def gemm(self, m, k, n, kind, runs):
        size, code = {"f32": (4, "f"), "f16": (2, "e")}[kind]
        # A prime period, so that no two rows are alike.
        block = [random.uniform(-1.0, 1.0) for _ in range(4099)]
        packed = struct.pack(f"<{len(block)}{code}", *block)
        # What cuBLAS gets: f16 rounds.
        block = struct.unpack(f"<{len(block)}{code}", packed)

        def matrix(rows, columns):
            length = rows * columns * size
            return (packed * (length // len(packed) + 1))[:length]

        places = [self.upload(matrix(m, k)), self.upload(matrix(k, n)), self.upload(bytes(m * n * size))]
        a, b, c = places
        one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)

        def multiply():
            # Row-major C = A*B is column-major C' = B'*A'.
            if kind == "f32":
                status = self.blas.cublasSgemm_v2(
                    self.handle, OP_N, OP_N, n, m, k, ctypes.byref(one), b, n, a, k, ctypes.byref(zero), c, n
                )
            else:
                status = self.blas.cublasGemmEx(
                    self.handle, OP_N, OP_N, n, m, k, ctypes.byref(one), b, R_16F, n, a, R_16F, k,
                    ctypes.byref(zero), c, R_16F, n, COMPUTE_32F, GEMM_DEFAULT,
                )  # fmt: skip
            checked(status, "the product")

        begin, end = ctypes.c_void_p(), ctypes.c_void_p()
        checked(self.runtime.cudaEventCreate(ctypes.byref(begin)), "cudaEventCreate")
        checked(self.runtime.cudaEventCreate(ctypes.byref(end)), "cudaEventCreate")

        def stretch(times):
            checked(self.runtime.cudaEventRecord(begin, None), "cudaEventRecord")
            for _ in range(times):
                multiply()
            checked(self.runtime.cudaEventRecord(end, None), "cudaEventRecord")
            checked(self.runtime.cudaEventSynchronize(end), "cudaEventSynchronize")
            milliseconds = ctypes.c_float()
            checked(self.runtime.cudaEventElapsedTime(ctypes.byref(milliseconds), begin, end), "cudaEventElapsedTime")
            return milliseconds.value

        stretch(1)
        times = max(1, int(STRETCH_MS / max(stretch(1), 1e-3)))
        values = [2.0 * m * k * n * times / (stretch(times) * 1e6) for _ in range(runs)]
        found = (ctypes.c_char * (m * n * size))()
        checked(self.runtime.cudaMemcpy(found, c, m * n * size, TO_HOST), "cudaMemcpy")
        for place in places:
            checked(self.runtime.cudaFree(place), "cudaFree")
        worst = 0.0
        for _ in range(64):
            row, column = random.randrange(m), random.randrange(n)
            at = size * (row * n + column)
            got = struct.unpack(f"<{code}", found[at : at + size])[0]
            terms = [block[(row * k + i) % 4099] * block[(i * n + column) % 4099] for i in range(k)]
            worst = max(worst, abs(got - sum(terms)) / max(sum(map(abs, terms)), 1e-30))
        return {"gflops": {"median": statistics.median(values), "values": values}, "max_error": worst}


def say(line):
    print(json.dumps(line), flush=True)


def main():
    try:
        cublas = Cublas()
        say({"ready": True, **cublas.info()})
    except (RuntimeError, OSError, AttributeError) as error:
        say({"ready": False, "error": str(error)})
        sys.exit(1)
    for line in sys.stdin:
        if not line.strip():
            continue
        request = {}
        try:
            request = json.loads(line)
            if request["op"] != "gemm":
                raise ValueError(f"unknown op: {request['op']}")
            sides = (int(request[side]) for side in ("m", "k", "n"))
            answer = cublas.gemm(*sides, request.get("type", "f32"), int(request.get("runs", 5)))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        say({"id": request.get("id"), **answer})


if __name__ == "__main__":
    main()
