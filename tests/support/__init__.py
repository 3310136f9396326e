"""What many tests need, one copy of each; no tests.

fault_server        a server that sends raw bytes and commits network faults
faults              the table of faults, each with the code that a caller sees and whether the function may have run
calls               ``adapter_for``, both ways of a call, waits that are short or endless, answers and failures
parameters          LambdaAdapter's parameters, one row each: default, good values, bad values, option
waiting             waiting for a condition, never for a time
credential_sources  stand-ins for what credentials come from
changing_keys       keys that are replaced while a program runs
tls_servers         TLS handshakes that fail, each in its own way
gates               holding a server's requests
clocks              a clock that a test sets
clients             a stand-in for a boto3 client, and what botocore raises
forks               work in a child process
values              values that several tests hand in
commands            the command line as a program of its own
example_scripts     the examples, as a user runs them
fake_discord        a Discord on loopback: its gateway and its REST API, as far as a bot needs them
paths               where things are
"""
