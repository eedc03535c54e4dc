"""Make the buckets that are not there yet: `buckets.py NAME...`. The object store is the one that the environment names."""

import sys

import boto3
from botocore.exceptions import ClientError

THERE = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")


def create(names: list[str]) -> None:
    """Make each bucket, or find it."""
    client = boto3.client("s3")
    for name in names:
        try:
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in THERE:
                raise


if __name__ == "__main__":
    create(sys.argv[1:])
