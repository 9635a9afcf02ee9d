"""Bad input, made by machines: `make fuzz`, or `./run fuzz --seconds 60`.

Against a running instance by its OpenAPI description (schemathesis), and into what reads a sender's bytes (atheris,
where it can be installed). A short and bounded form of the same laws runs in the tests.
"""
