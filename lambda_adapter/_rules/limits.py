"""Every number of AWS's once, with its source; and the package's own limits, with their reasons."""

#: A synchronous invocation's payload, in bytes.
#: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_REQUEST_RESPONSE_BYTES = 6_291_456
#: An asynchronous (Event) invocation's payload, in bytes (same page; 256 KB until late 2025).
MAX_EVENT_BYTES = 1_048_576

#: What a function returns, in bytes: AWS's own words for a larger one name this number.
MAX_RESULT_BYTES = MAX_REQUEST_RESPONSE_BYTES + 100

#: A streamed answer, in bytes (same page: 200 MB).
MAX_STREAMED_BYTES = 209_715_200

#: A function's bare name, and its name with all that an ARN adds, in characters.
#: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (FunctionName)
MAX_FUNCTION_NAME_CHARS = 64
MAX_FUNCTION_IDENTIFIER_CHARS = 256
#: A version or alias, and a tenant's id, in characters (same page, Qualifier and TenantId).
MAX_QUALIFIER_CHARS = 128
MAX_TENANT_ID_CHARS = 256
#: The client context, in characters of base64 (same page, ClientContext).
MAX_CLIENT_CONTEXT_CHARS = 3_583
#: The end of a function's log that an answer may carry, in bytes (same page, LogResult).
LOG_TAIL_BYTES = 4_096

#: How long a function may run, in seconds: botocore 1.44's model says 1,800 for CreateFunction's Timeout and "up to 30
#: minutes" for Invoke, while AWS's page of quotas still says 900.
MAX_FUNCTION_TIMEOUT_S = 1_800
#: How long a durable execution may run, in seconds: 366 days (botocore 1.44's model, DurableConfig).
MAX_EXECUTION_S = 31_622_400
#: A function's memory in MB; over 10,240 on Managed Instances (botocore 1.44's model).
MIN_MEMORY_MB = 128
MAX_MEMORY_MB = 32_768

#: The longest that a function may run, and a margin.
MAX_READ_TIMEOUT_S = MAX_FUNCTION_TIMEOUT_S + 60
MAX_CONNECT_TIMEOUT_S = 120
MAX_DELAY_S = 3_600
#: A day: longer than that nobody waits in a chat, and no clock is trusted.
MAX_TOTAL_TIMEOUT_S = 86_400
MAX_RETRIES = 100
MAX_CONCURRENCY = 1_024

#: An answer over AWS's limit comes from no Lambda function; the margin is for AWS to be generous with.
MAX_ANSWER_BYTES = MAX_REQUEST_RESPONSE_BYTES + 65_536

#: The same for a streamed answer.
MAX_STREAM_BYTES = MAX_STREAMED_BYTES + 65_536

#: JSON deeper than this is refused in both directions: Python's own parser gives up at about 1,000 levels, less what
#: its caller's stack already holds.
MAX_DEPTH = 200
#: Python itself writes and reads integers of up to 4,300 digits, which is a little more.
MAX_INTEGER_BITS = 14_000
