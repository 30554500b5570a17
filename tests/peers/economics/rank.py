"""pymcdm's TOPSIS as a peer for ours: the speed of its ranking, and what it ranks.

It reads one JSON request per line from standard input and answers each by one line on standard output, in order. The
first line it prints says what was found; it ends with its input.

  {"values": rows, "weights", "directions", "seconds": at least so long}
      -> {"per_second": rankings, "closeness": [one per row]}

The matrix is an array before the clock starts. `cargo xtask peers` installs what this needs.
"""

import json
import sys
import time


def rank(request, topsis, array):
    values, weights = array(request["values"]), array(request["weights"])
    types = array([1 if direction == "benefit" else -1 for direction in request["directions"]])
    closeness = topsis(values, weights, types)
    count, start = 0, time.perf_counter()
    while True:
        topsis(values, weights, types)
        count += 1
        took = time.perf_counter() - start
        if took >= request["seconds"]:
            return {"per_second": count / took, "closeness": closeness.tolist()}


def main():
    try:
        import importlib.metadata

        import numpy
        from pymcdm.methods import TOPSIS
        from pymcdm.normalizations import vector_normalization
    except ImportError as error:
        print(json.dumps({"ready": False, "error": f"pymcdm cannot be imported: {error}"}), flush=True)
        return
    build = importlib.metadata.version("pymcdm")
    ready = {"ready": True, "engine": "pymcdm", "build": build, "adapter": f"numpy {numpy.__version__}"}
    print(json.dumps(ready), flush=True)
    topsis = TOPSIS(vector_normalization)
    for line in sys.stdin:
        print(json.dumps(rank(json.loads(line), topsis, numpy.array)), flush=True)


if __name__ == "__main__":
    main()
