"""One module a DVC stage, each with `run(paths, ...)`: read the declared deps, write exactly the declared outs.

python -m nola_core.stages prepare --dataset digits
"""
