#include "frontends/cli/change_reader.h"

#include "core/base/digest.h"

namespace rauha::cli {

Error corruptChangeSet(const std::string& text, const std::string& object) {
  return Error("repository", Code::corrupt, "the daemon's change set cannot be used: " + text,
               "restart the daemon when it is of another version", object);
}

namespace {

std::string str(capnp::Text::Reader text) { return std::string(text.begin(), text.size()); }

std::string bytesOf(capnp::Data::Reader data) { return std::string(reinterpret_cast<const char*>(data.begin()), data.size()); }

FileType typeOf(schema::FileType type) {
  switch (type) {
    case schema::FileType::NONE:
      return FileType::none;
    case schema::FileType::REGULAR:
      return FileType::regular;
    case schema::FileType::DIRECTORY:
      return FileType::directory;
    case schema::FileType::SYMLINK:
      return FileType::symlink;
    case schema::FileType::FIFO:
    case schema::FileType::SOCKET:
    case schema::FileType::CHARACTER_DEVICE:
    case schema::FileType::BLOCK_DEVICE:
      return FileType::special;
  }
  throw corruptChangeSet("a file of a type that this version does not know");
}

ChangeKind kindOf(schema::ChangeKind kind) {
  switch (kind) {
    case schema::ChangeKind::ADDED:
      return ChangeKind::added;
    case schema::ChangeKind::MODIFIED:
      return ChangeKind::modified;
    case schema::ChangeKind::DELETED:
      return ChangeKind::deleted;
    case schema::ChangeKind::TYPE_CHANGED:
      return ChangeKind::typeChanged;
    case schema::ChangeKind::RENAMED:
      return ChangeKind::renamed;
  }
  throw corruptChangeSet("a kind of change that this version does not know");
}

FileState stateOf(schema::FileState::Reader in) {
  FileState out;
  out.type = typeOf(in.getType());
  out.size = in.getSize();
  out.mode = in.getMode() & 07777u;
  out.uid = in.getUid();
  out.gid = in.getGid();
  out.mtimeNs = in.getMtimeNs();
  out.ctimeNs = in.getCtimeNs();
  out.inode = in.getInode();
  out.digest = str(in.getDigest());
  out.entries = str(in.getEntries());
  out.target = in.hasTargetBytes() ? bytesOf(in.getTargetBytes()) : str(in.getTarget());
  for (const auto attribute : in.getXattrs())
    out.xattrs.push_back(
        {attribute.hasNameBytes() ? bytesOf(attribute.getNameBytes()) : str(attribute.getName()), bytesOf(attribute.getValue())});
  for (const auto& digest : {out.digest, out.entries})
    if (!digest.empty() && !isSha256(digest)) throw corruptChangeSet("'" + digest + "' is no digest");
  return out;
}

Fields fieldsOf(capnp::List<capnp::Text>::Reader names) {
  Fields out;
  for (const auto name : names) {
    out.content |= name == "content";
    out.type |= name == "type";
    out.mode |= name == "mode";
    out.owner |= name == "owner";
    out.xattrs |= name == "xattrs";
    out.target |= name == "target";
    out.mtime |= name == "mtime";
  }
  return out;
}

}  // namespace

std::string hostTreeChangedText(schema::ChangeSet::Reader set) {
  return std::string("the host's tree changed ") +
         (set.getFrom().size() == 0 ? "while the task ran" : "since the task that it goes on from began");
}

Change readChange(schema::Change::Reader in) {
  Change out;
  out.path = in.hasPathBytes() ? bytesOf(in.getPathBytes()) : str(in.getPath());
  out.from = in.hasFromBytes() ? bytesOf(in.getFromBytes()) : str(in.getFrom());
  out.kind = kindOf(in.getKind());
  out.fields = fieldsOf(in.getFields());
  out.before = stateOf(in.getOld());
  out.after = stateOf(in.getNew());
  out.noise = str(in.getNoise());
  out.protection = str(in.getProtected());
  out.hostChanged = in.getHostChanged();
  if (!isTreePath(out.path)) throw corruptChangeSet("'" + out.path + "' is no path of a tree", out.path);
  if (out.kind == ChangeKind::renamed ? !isTreePath(out.from) : !out.from.empty())
    throw corruptChangeSet("'" + out.from + "' is no path of a tree", out.from);
  return out;
}

BaseTree readBase(schema::BaseTree::Reader in) {
  BaseTree out;
  out.path = in.hasPathBytes() ? bytesOf(in.getPathBytes()) : str(in.getPath());
  out.device = in.getDevice();
  out.inode = in.getInode();
  out.uid = in.getUid();
  out.gid = in.getGid();
  return out;
}

}  // namespace rauha::cli
