"""The side of AWS: boto3 clients, and what a failure of botocore or AWS means."""
