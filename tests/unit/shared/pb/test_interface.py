"""The generated modules keep the public interface: full names, field names, numbers and streaming kinds."""

import importlib
import pkgutil

import pytest
from google.protobuf import descriptor_pool

import shared.pb

CONTROL = """
SolveRequest Ref=1 Definition=2 ExporterDeprecated=3 ExporterAttrsDeprecated=4 Session=5 Frontend=6 FrontendAttrs=7 Cache=8 \
 Entitlements=9 FrontendInputs=10 Internal=11 SourcePolicy=12 Exporters=13 EnableSessionExporter=14 SourcePolicySession=15 \
 CompatibilityVersion=16 ProxyNetwork=17
Exporter Type=1 Attrs=2
CacheOptions ExportRefDeprecated=1 ImportRefsDeprecated=2 ExportAttrsDeprecated=3 Exports=4 Imports=5
CacheOptionsEntry Type=1 Attrs=2
SolveResponse ExporterResponse=1
StatusRequest Ref=1
StatusResponse vertexes=1 statuses=2 logs=3 warnings=4
Vertex digest=1 inputs=2 name=3 cached=4 started=5 completed=6 error=7 progressGroup=8
VertexStatus ID=1 vertex=2 name=3 current=4 total=5 timestamp=6 started=7 completed=8
VertexLog vertex=1 timestamp=2 stream=3 msg=4
VertexWarning vertex=1 level=2 short=3 detail=4 url=5 info=6 ranges=7
BytesMessage data=1
PruneRequest filter=1 all=2 keepDuration=3 reservedSpace=4 maxUsedSpace=5 minFreeSpace=6
DiskUsageRequest filter=1 ageLimit=2
DiskUsageResponse record=1
UsageRecord ID=1 Mutable=2 InUse=3 Size=4 Parent=5 CreatedAt=6 LastUsedAt=7 UsageCount=8 Description=9 RecordType=10 Shared=11 Parents=12
ListWorkersRequest filter=1
ListWorkersResponse record=1
InfoResponse buildkitVersion=1
BuildHistoryRequest ActiveOnly=1 Ref=2 EarlyExit=3 Filter=4 Limit=5
BuildHistoryEvent type=1 record=2
BuildHistoryRecord Ref=1 Frontend=2 FrontendAttrs=3 Exporters=4 error=5 CreatedAt=6 CompletedAt=7 logs=8 \
 ExporterResponse=9 Result=10 Results=11 Generation=12 trace=13 pinned=14 numCachedSteps=15 numTotalSteps=16 \
 numCompletedSteps=17 externalError=18 numWarnings=19
UpdateBuildHistoryRequest Ref=1 Pinned=2 Delete=3 Finalize=4
Descriptor media_type=1 digest=2 size=3 annotations=5
BuildResultInfo ResultDeprecated=1 Attestations=2 Results=3
types.BuildkitVersion package=1 version=2 revision=3 dockerfileVersion=4
types.WorkerRecord ID=1 Labels=2 platforms=3 GCPolicy=4 BuildkitVersion=5 CDIDevices=6
types.GCPolicy all=1 keepDuration=2 reservedSpace=3 filters=4 maxUsedSpace=5 minFreeSpace=6
types.CDIDevice Name=1 AutoAllow=2 Annotations=3 OnDemand=4
apicaps.APICap ID=1 Enabled=2 Deprecated=3 DisabledReason=4 DisabledReasonMsg=5 DisabledAlternative=6
frontend.PongResponse FrontendAPICaps=1 LLBCaps=2 Workers=3
"""
OTHERS = """
fsutil.types.Packet type=1 stat=2 ID=3 data=4
fsutil.types.Stat path=1 mode=2 uid=3 gid=4 size=5 modTime=6 linkname=7 devmajor=8 devminor=9 xattrs=10
moby.filesync.v1.CredentialsRequest Host=1
moby.filesync.v1.FetchTokenRequest ClientID=1 Host=2 Realm=3 Service=4 Scopes=5
moby.filesync.v1.FetchTokenResponse Token=1 ExpiresIn=2 IssuedAt=3
moby.buildkit.secrets.v1.GetSecretRequest ID=1 annotations=2
moby.exporter.v1.FindExportersRequest metadata=1 refs=2
"""
SERVICES = {
    "moby.buildkit.v1.Control": "DiskUsage Prune> Solve Status> <Session> ListWorkers Info ListenBuildHistory> UpdateBuildHistory",
    "moby.buildkit.v1.frontend.LLBBridge": (
        "ResolveImageConfig ResolveSourceMeta Solve ReadFile ReadDir StatFile Evaluate Ping Return Inputs "
        "NewContainer ReleaseContainer ReadFileContainer ReadDirContainer StatFileContainer <ExecProcess> Warn"
    ),
    "moby.filesync.v1.FileSync": "<DiffCopy> <TarStream>",
    "moby.filesync.v1.FileSend": "<DiffCopy>",
    "moby.filesync.v1.Auth": "Credentials FetchToken GetTokenAuthority VerifyTokenAuthority",
    "moby.buildkit.secrets.v1.Secrets": "GetSecret",
    "moby.sshforward.v1.SSH": "CheckAgent <ForwardAgent>",
    "moby.upload.v1.Upload": "<Pull>",
    "moby.exporter.v1.Exporter": "FindExporters FinalizeExport",
    "moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier": "CheckPolicy",
    "containerd.services.content.v1.Content": "Info Update List> Delete Read> Status ListStatuses <Write> Abort",
    "grpc.health.v1.Health": "Check List Watch>",
    "grpc.reflection.v1.ServerReflection": "<ServerReflectionInfo>",
    "grpc.reflection.v1alpha.ServerReflection": "<ServerReflectionInfo>",
}


def rows() -> list[tuple[str, dict[str, int]]]:
    found = []
    for table, prefix in ((CONTROL, "moby.buildkit.v1."), (OTHERS, "")):
        for line in table.strip().splitlines():
            name, *fields = line.split()
            found.append((prefix + name, {key: int(number) for key, number in (pair.split("=") for pair in fields)}))
    return found


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    for module in pkgutil.iter_modules(shared.pb.__path__):
        importlib.import_module(f"shared.pb.{module.name}")


@pytest.mark.parametrize(("name", "fields"), rows(), ids=lambda value: value if isinstance(value, str) else "")
def test_message_fields(name: str, fields: dict[str, int]) -> None:
    """Every message has exactly the listed fields."""
    message = descriptor_pool.Default().FindMessageTypeByName(name)

    assert {field.name: field.number for field in message.fields} == fields


@pytest.mark.parametrize("name", SERVICES)
def test_service_methods(name: str) -> None:
    """Every service has exactly the listed methods; `<` marks a client stream and `>` a server stream."""
    service = descriptor_pool.Default().FindServiceByName(name)
    methods = {("<" if m.client_streaming else "") + m.name + (">" if m.server_streaming else "") for m in service.methods}

    assert methods == set(SERVICES[name].split())
