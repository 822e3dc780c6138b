"""pb.FileOp ↔ FileOp."""

from typing import TypeAlias

from shared.errors import InvalidInput
from shared.llb import ops
from shared.pb import ops_pb2 as pb

_WithOwner: TypeAlias = pb.FileActionCopy | pb.FileActionMkFile | pb.FileActionMkDir | pb.FileActionSymlink


def file_to_pb(op: ops.FileOp, message: pb.FileOp) -> None:
    message.SetInParent()
    for action in op.actions:
        target = message.actions.add(input=action.input, secondaryInput=action.secondary_input, output=action.output)
        _action_to_pb(action.action, target)


def _action_to_pb(action: ops.Action, target: pb.FileAction) -> None:
    match action:
        case ops.Copy():
            _copy_to_pb(action, target.copy)
        case ops.MkFile():
            mkfile = target.mkfile
            mkfile.SetInParent()
            mkfile.path, mkfile.mode, mkfile.data, mkfile.timestamp = action.path, action.mode, action.data, action.timestamp
            _chown_to_pb(action.owner, mkfile)
        case ops.MkDir():
            mkdir = target.mkdir
            mkdir.SetInParent()
            mkdir.path, mkdir.mode, mkdir.makeParents = action.path, action.mode, action.make_parents
            mkdir.timestamp = action.timestamp
            _chown_to_pb(action.owner, mkdir)
        case ops.Rm():
            target.rm.SetInParent()
            target.rm.path = action.path
            target.rm.allowNotFound, target.rm.allowWildcard = action.allow_not_found, action.allow_wildcard
        case ops.Symlink():
            symlink = target.symlink
            symlink.SetInParent()
            symlink.oldpath, symlink.newpath, symlink.timestamp = action.oldpath, action.newpath, action.timestamp
            _chown_to_pb(action.owner, symlink)


def _copy_to_pb(action: ops.Copy, copy: pb.FileActionCopy) -> None:
    copy.SetInParent()
    copy.src, copy.dest, copy.mode, copy.modeStr = action.src, action.dest, action.mode, action.mode_str
    _chown_to_pb(action.owner, copy)
    copy.followSymlink = action.follow_symlink
    copy.dirCopyContents = action.dir_copy_contents
    copy.attemptUnpackDockerCompatibility = action.attempt_unpack
    copy.createDestPath = action.create_dest_path
    copy.allowWildcard, copy.allowEmptyWildcard = action.allow_wildcard, action.allow_empty_wildcard
    copy.timestamp = action.timestamp
    copy.include_patterns.extend(action.include_patterns)
    copy.exclude_patterns.extend(action.exclude_patterns)
    copy.required_paths.extend(action.required_paths)
    copy.alwaysReplaceExistingDestPaths = action.always_replace_existing_dest_paths


def _chown_to_pb(chown: ops.Chown | None, message: _WithOwner) -> None:
    if chown is None:
        return
    message.owner.SetInParent()
    for owner, target in ((chown.user, message.owner.user), (chown.group, message.owner.group)):
        if owner is None:
            continue
        if owner.name:
            target.byName.name, target.byName.input = owner.name, owner.input
        else:
            target.byID = owner.id


def file_from_pb(message: pb.FileOp) -> ops.FileOp:
    """Raises InvalidInput for an action that says nothing."""
    return ops.FileOp(
        actions=tuple(
            ops.FileAction(input=a.input, secondary_input=a.secondaryInput, output=a.output, action=_action_from_pb(a))
            for a in message.actions
        )
    )


def _action_from_pb(message: pb.FileAction) -> ops.Action:
    match message.WhichOneof("action"):
        case "copy":
            return _copy_from_pb(message.copy)
        case "mkfile":
            f = message.mkfile
            return ops.MkFile(path=f.path, mode=f.mode, data=f.data, owner=_chown_from_pb(f), timestamp=f.timestamp)
        case "mkdir":
            d = message.mkdir
            return ops.MkDir(path=d.path, mode=d.mode, make_parents=d.makeParents, owner=_chown_from_pb(d), timestamp=d.timestamp)
        case "rm":
            r = message.rm
            return ops.Rm(path=r.path, allow_not_found=r.allowNotFound, allow_wildcard=r.allowWildcard)
        case "symlink":
            s = message.symlink
            return ops.Symlink(oldpath=s.oldpath, newpath=s.newpath, owner=_chown_from_pb(s), timestamp=s.timestamp)
        case _:
            raise InvalidInput("invalid file op: action without a kind")


def _copy_from_pb(c: pb.FileActionCopy) -> ops.Copy:
    return ops.Copy(
        src=c.src,
        dest=c.dest,
        owner=_chown_from_pb(c),
        mode=c.mode,
        mode_str=c.modeStr,
        follow_symlink=c.followSymlink,
        dir_copy_contents=c.dirCopyContents,
        attempt_unpack=c.attemptUnpackDockerCompatibility,
        create_dest_path=c.createDestPath,
        allow_wildcard=c.allowWildcard,
        allow_empty_wildcard=c.allowEmptyWildcard,
        timestamp=c.timestamp,
        include_patterns=tuple(c.include_patterns),
        exclude_patterns=tuple(c.exclude_patterns),
        required_paths=tuple(c.required_paths),
        always_replace_existing_dest_paths=c.alwaysReplaceExistingDestPaths,
    )


def _chown_from_pb(
    message: _WithOwner,
) -> ops.Chown | None:
    if not message.HasField("owner"):
        return None
    owner = message.owner
    return ops.Chown(
        user=_owner_from_pb(owner.user) if owner.HasField("user") else None,
        group=_owner_from_pb(owner.group) if owner.HasField("group") else None,
    )


def _owner_from_pb(message: pb.UserOpt) -> ops.Owner | None:
    match message.WhichOneof("user"):
        case "byName":
            return ops.Owner(name=message.byName.name, input=message.byName.input)
        case "byID":
            return ops.Owner(id=message.byID)
        case _:
            return None
