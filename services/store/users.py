"""Bucket, users and policies over MinIO's admin API. Everything may be done again: what there is gets the rights of today."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.blobs.s3 import S3Settings, client_of, http_pool, make_bucket
from shared.blobs.s3_rights import policy_of
from shared.errors import BuildmeshError, Denied, Unavailable

__all__ = ["Keys", "Store"]

Keys = Mapping[str, tuple[str, str]]
"""By service: access key and secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """`settings` hold MinIO's own key."""

    settings: S3Settings

    def prepare(self, keys: Keys) -> list[str]:
        """Bucket first: who has a user finds it made. Returns the services that have one now; whose key is MinIO's own keeps all rights.

        Raises Unavailable when nobody answers, Denied when MinIO refuses or is none.
        """
        from minio.error import MinioAdminException, MinioException
        from urllib3.exceptions import HTTPError

        try:
            make_bucket(client_of(self.settings), self.settings.bucket)
            return [service for service, (key, secret) in sorted(keys.items()) if self._admit(service, key, secret)]
        except MinioAdminException as error:
            raise self._said(error, str(error)) from error
        except (MinioException, HTTPError, OSError, ValueError) as error:
            raise self._said(error, f"{type(error).__name__}: {error}") from error

    def _said(self, error: Exception, text: str) -> BuildmeshError:
        from minio.error import MinioAdminException, S3Error

        refused = isinstance(error, MinioAdminException | ValueError) or (isinstance(error, S3Error) and error.code in _REFUSED)
        return (Denied if refused else Unavailable)(f"blob store {self.settings.endpoint}: {text[:1000]}")

    def _admit(self, service: str, key: str, secret: str) -> bool:
        if key == self.settings.access_key:
            return False
        admin, name = self._admin(), f"buildmesh-{service}"
        admin.policy_add(name, policy=policy_of(service, self.settings.bucket, self.settings.prefix))
        admin.user_add(key, secret)
        admin.policy_set(name, user=key)
        return True

    def _admin(self) -> Any:
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider

        s = self.settings
        owner = StaticProvider(s.access_key, s.secret_key)
        return MinioAdmin(endpoint=s.endpoint, credentials=owner, region=s.region, secure=s.tls, http_client=http_pool(s))


_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
