"""Create the buckets that do not exist yet: `buckets.py NAME...`. The AWS_ variables name the object store."""

import sys

import boto3
from botocore.exceptions import ClientError

EXISTS = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")


def create(names: list[str]) -> None:
    """Create each bucket that does not exist."""
    client = boto3.client("s3")
    for name in names:
        try:
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in EXISTS:
                raise


if __name__ == "__main__":
    create(sys.argv[1:])
