"""What stands for a boto3 client, and what botocore raises."""

import io
import json

from botocore.exceptions import ClientError


def client_error(code, status, headers=None, message="m", request_id="0f4e0d1c-ab12", **fields):
    """An error of AWS's, as botocore raises it."""
    metadata = {"RequestId": request_id, "HTTPStatusCode": status, "HTTPHeaders": headers or {}}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata, **fields}, "Invoke")


class Client:
    """Stands for a boto3 client; the last reaction is repeated."""

    def __init__(self, *reactions):
        self.reactions = reactions or ({"success": True},)
        self.calls = []

    def invoke(self, **arguments):
        self.calls.append(arguments)
        reaction = self.reactions[min(len(self.calls), len(self.reactions)) - 1]
        if callable(reaction):
            reaction = reaction()
        if isinstance(reaction, BaseException):
            raise reaction
        body, fields = reaction if isinstance(reaction, tuple) else (reaction, {})
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        metadata = {
            "RequestId": "0f4e0d1c-ab12",
            "HTTPStatusCode": 200,
            "HTTPHeaders": {"content-length": str(len(data))},
        }
        return {"StatusCode": 200, "ResponseMetadata": metadata, "Payload": io.BytesIO(data), **fields}
