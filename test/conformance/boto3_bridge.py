"""Calls AWS with boto3 for a test: reads one request a line as JSON from stdin, and answers each with one line.

A request names a service and what to do there: `call` an operation, `pages` of it, `wait` for a waiter, or `upload` and
`download` with boto3's own transfer manager. Answers have only JSON's types: times are milliseconds, bytes base64.
"""

import base64
import datetime
import hashlib
import io
import json
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

clients = {}
settings = Config(retries={"total_max_attempts": 1})


def client(service):
    if service not in clients:
        clients[service] = boto3.client(service, config=settings)
    return clients[service]


def plain(value):
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key != "ResponseMetadata"}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if hasattr(value, "read"):
        return base64.b64encode(value.read()).decode()
    return value


def call(service, operation, input):
    return plain(getattr(client(service), xform_name(operation))(**input))


def pages(service, operation, input, size):
    paginator = client(service).get_paginator(xform_name(operation))
    return [plain(page) for page in paginator.paginate(**input, PaginationConfig={"PageSize": size})]


def wait(service, waiter, input):
    # boto3's own pauses are made for a cloud: up to half a minute.
    client(service).get_waiter(waiter).wait(**input, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def upload(bucket, key, size, part):
    config = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    body = io.BytesIO(bytes(index % 251 for index in range(251)) * (size // 251 + 1))
    body.truncate(size)
    client("s3").upload_fileobj(body, bucket, key, Config=config)


def download(bucket, key, part):
    config = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    body = io.BytesIO()
    client("s3").download_fileobj(bucket, key, body, Config=config)
    return {"size": len(body.getvalue()), "md5": hashlib.md5(body.getvalue()).hexdigest()}


actions = {"call": call, "pages": pages, "wait": wait, "upload": upload, "download": download}


def answer(request):
    try:
        return {"output": actions[request.pop("do")](**request)}
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return {"error": {"code": error.response["Error"]["Code"], "status": status, "message": str(error)}}
    except Exception as error:  # A test shows it.
        return {"failure": f"{type(error).__name__}: {error}"}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
