#include "sim/memory_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/check.h"
#include "base/crc32c.h"

namespace odradek::sim {
namespace {

constexpr uint64_t kSector = 512;
/// Beyond this the older half of a file's unsynced writes becomes durable by itself, as the
/// kernel's write-back does.
constexpr uint64_t kPendingBytesMax = 8 << 20;

struct PendingWrite {
  uint64_t sequence = 0;
  bool truncate = false;
  uint64_t position = 0;  // of a write; the new size of a truncate
  ByteBuffer bytes;
};

void put(ByteBuffer& content, uint64_t position, ByteView bytes) {
  if (bytes.empty()) return;
  if (content.size() < position + bytes.size()) content.resize(position + bytes.size());
  std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(position));
}

void put_write(ByteBuffer& content, const PendingWrite& write) {
  if (write.truncate) {
    content.resize(write.position);
  } else {
    put(content, write.position, write.bytes);
  }
}

/// Applies some sectors of the write: a prefix of them or any of them.
void put_torn(ByteBuffer& content, const PendingWrite& write, Rng& rng) {
  if (write.truncate) {
    if (rng.one_in(2)) put_write(content, write);
    return;
  }
  bool prefix = rng.one_in(2);
  uint64_t at = 0;
  while (at < write.bytes.size()) {
    uint64_t position = write.position + at;
    uint64_t n = std::min(kSector - position % kSector, write.bytes.size() - at);
    if (rng.one_in(2)) {
      put(content, position, ByteView(write.bytes).subspan(at, n));
    } else if (prefix) {
      break;
    }
    at += n;
  }
  // The new size may become durable before the bytes: they read as zeros then.
  uint64_t end = write.position + write.bytes.size();
  if (rng.one_in(8) && content.size() < end) content.resize(end);
}

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at <= path.size()) {
    size_t slash = std::min(path.find('/', at), path.size());
    std::string part = path.substr(at, slash - at);
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
    at = slash + 1;
  }
  return parts;
}

Error not_found(const std::string& path) {
  return {Errc::kNotFound, fmt::format("{}: No such file or directory", path)};
}

}  // namespace

struct MemoryDisk::Node {
  bool is_directory = false;
  // of a directory
  std::map<std::string, NodePtr> names;
  std::map<std::string, NodePtr> durable_names;
  // of a file
  ByteBuffer content;
  ByteBuffer durable;
  std::vector<PendingWrite> pending;
  uint64_t pending_bytes = 0;
  uint64_t next_sequence = 0;
  WallMs modified{0};

  void add(PendingWrite write) {
    put_write(content, write);
    write.sequence = next_sequence++;
    pending_bytes += write.bytes.size();
    pending.push_back(std::move(write));
    if (pending_bytes > kPendingBytesMax) {
      make_durable(pending[pending.size() / 2].sequence);
    }
  }
  void make_durable(uint64_t before) {
    size_t n = 0;
    while (n < pending.size() && pending[n].sequence < before) {
      put_write(durable, pending[n]);
      pending_bytes -= pending[n++].bytes.size();
    }
    pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(n));
  }
  void drop_pending() {
    pending.clear();
    pending_bytes = 0;
  }
  void lose_power(Rng& rng) {
    uint64_t mode = rng.below(4);  // nothing, everything, the first ones, any of them
    size_t kept = mode == 0 ? 0 : mode == 2 ? rng.below(pending.size() + 1) : pending.size();
    for (size_t i = 0; i < kept; i++) {
      bool torn = mode == 2 ? i + 1 == kept : mode == 3 && rng.one_in(2);
      if (torn) {
        put_torn(durable, pending[i], rng);
      } else if (mode != 3 || rng.one_in(2)) {
        put_write(durable, pending[i]);
      }
    }
    drop_pending();
    content = durable;
  }
};

class MemoryFile : public io::File {
 public:
  MemoryFile(MemoryDisk& disk, MemoryDisk::NodePtr node, std::string path, io::OpenMode mode)
      : disk_(disk),
        node_(std::move(node)),
        path_(std::move(path)),
        mode_(mode),
        incarnation_(disk.incarnation_) {}

  const std::string& path() const override { return path_; }

  Result<size_t> read(uint64_t position, MutableBytes into) override {
    if (auto e = refused(DiskOp::kRead, false)) return std::unexpected(*e);
    const ByteBuffer& content = node_->content;
    size_t n = position >= content.size() ? 0 : std::min(into.size(), content.size() - position);
    std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(position), n, into.begin());
    disk_.counts_.reads++;
    disk_.counts_.bytes_read += n;
    return n;
  }

  Result<void> write(uint64_t position, std::span<const ByteView> pieces) override {
    PendingWrite write{.position = position, .bytes = {}};
    for (ByteView p : pieces) write.bytes.insert(write.bytes.end(), p.begin(), p.end());
    const bool blocks = position % io::kBlock == 0 && write.bytes.size() % io::kBlock == 0;
    ODRADEK_CHECK(mode_ != io::OpenMode::kCreateDirect || blocks);
    auto error = refused(DiskOp::kWrite, true);
    if (error && error->kind == Errc::kClosed) return std::unexpected(*error);
    uint64_t end = position + write.bytes.size();
    uint64_t growth = end > node_->content.size() ? end - node_->content.size() : 0;
    if (!error && disk_.used_ + growth > disk_.space_) {
      error = Error{Errc::kNoSpace, fmt::format("{}: No space left on device", path_)};
    }
    if (error) write.bytes.resize(write.bytes.size() / 2);
    disk_.counts_.writes++;
    disk_.counts_.bytes_written += write.bytes.size();
    changed([&] { node_->add(std::move(write)); });
    if (error) return std::unexpected(*error);
    return {};
  }

  Result<uint64_t> size() override {
    if (auto e = refused(DiskOp::kRead, false)) return std::unexpected(*e);
    return node_->content.size();
  }

  Result<void> truncate(uint64_t size) override {
    if (auto e = refused(DiskOp::kTruncate, true)) return std::unexpected(*e);
    changed([&] { node_->add({.truncate = true, .position = size, .bytes = {}}); });
    return {};
  }

  Result<void> sync() override { return sync_up_to(mark()); }

  uint64_t mark() const { return node_->next_sequence; }

  Result<void> sync_up_to(uint64_t mark) {
    if (auto e = refused(DiskOp::kSync, false)) {
      // As in Linux: the pages are marked clean, and the next sync will not write them either.
      if (e->kind != Errc::kClosed) node_->drop_pending();
      return std::unexpected(*e);
    }
    disk_.counts_.syncs++;
    node_->make_durable(mark);
    return {};
  }

 private:
  std::optional<Error> refused(DiskOp op, bool writes) {
    if (incarnation_ != disk_.incarnation_) {
      return Error{Errc::kClosed, fmt::format("{}: the process that opened it is gone", path_)};
    }
    if (writes && mode_ == io::OpenMode::kRead) {
      return Error{Errc::kClosed, fmt::format("{}: opened for reading only", path_)};
    }
    return disk_.fault(op, path_);
  }

  template <class F>
  void changed(F change) {
    uint64_t before = node_->content.size();
    change();
    disk_.used_ += node_->content.size() - before;
    if (disk_.wall_) node_->modified = disk_.wall_();
  }

  MemoryDisk& disk_;
  MemoryDisk::NodePtr node_;
  std::string path_;
  io::OpenMode mode_;
  uint64_t incarnation_;
};

class MemoryLock : public io::DirLock {
 public:
  MemoryLock(MemoryDisk& disk, std::string path)
      : disk_(disk), path_(std::move(path)), incarnation_(disk.incarnation_) {}
  ~MemoryLock() override {
    if (incarnation_ == disk_.incarnation_) disk_.locks_.erase(path_);
  }

 private:
  MemoryDisk& disk_;
  std::string path_;
  uint64_t incarnation_;
};

MemoryDisk::MemoryDisk() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
MemoryDisk::~MemoryDisk() = default;

MemoryDisk::NodePtr MemoryDisk::find(const std::string& path) const {
  NodePtr node = root_;
  for (const std::string& part : split(path)) {
    auto it = node->names.find(part);
    if (it == node->names.end()) return nullptr;
    node = it->second;
  }
  return node;
}

Result<MemoryDisk::NodePtr> MemoryDisk::find_parent(const std::string& path,
                                                    std::string& name) const {
  std::vector<std::string> parts = split(path);
  if (parts.empty()) return fail(Errc::kInvalid, fmt::format("{}: is the root", path));
  name = parts.back();
  parts.pop_back();
  NodePtr node = root_;
  for (const std::string& part : parts) {
    auto it = node->names.find(part);
    if (it == node->names.end()) return std::unexpected(not_found(path));
    node = it->second;
  }
  if (!node->is_directory) return fail(Errc::kIo, fmt::format("{}: Not a directory", path));
  return node;
}

std::optional<Error> MemoryDisk::fault(DiskOp op, const std::string& path) {
  const uint64_t incarnation = incarnation_;
  const bool changes = op != DiskOp::kRead && op != DiskOp::kOpen;
  if (changes && interrupt_in_ > 0 && --interrupt_in_ == 0) std::exchange(interrupt_, nullptr)();
  if (down_ || incarnation != incarnation_) {
    return Error{Errc::kClosed, fmt::format("{}: the process is gone", path)};
  }
  return fault_ ? fault_(op, path) : std::nullopt;
}

void MemoryDisk::change(EntryOp op) {
  for (auto& c : op.changes) {
    if (c.node) {
      c.directory->names[c.name] = c.node;
    } else {
      c.directory->names.erase(c.name);
    }
  }
  pending_.push_back(std::move(op));
}

void MemoryDisk::make_durable(const EntryOp& op) {
  for (const auto& c : op.changes) {
    if (c.node) {
      c.directory->durable_names[c.name] = c.node;
    } else {
      c.directory->durable_names.erase(c.name);
    }
  }
}

void MemoryDisk::forget(const NodePtr& node) {
  used_ -= node->content.size();
  for (auto& [name, child] : node->names) forget(child);
}

Result<std::shared_ptr<io::File>> MemoryDisk::open(const std::string& path, io::OpenMode mode) {
  if (auto e = fault(DiskOp::kOpen, path)) return std::unexpected(*e);
  std::string name;
  auto parent = find_parent(path, name);
  if (!parent) return std::unexpected(parent.error());
  auto it = (*parent)->names.find(name);
  NodePtr node = it == (*parent)->names.end() ? nullptr : it->second;
  if (!node) {
    const bool made = mode == io::OpenMode::kCreate || mode == io::OpenMode::kCreateDirect;
    if (!made) return std::unexpected(not_found(path));
    node = std::make_shared<Node>();
    if (wall_) node->modified = wall_();
    change({node, {{*parent, name, node}}});
  }
  if (node->is_directory) return fail(Errc::kIo, fmt::format("{}: Is a directory", path));
  return std::make_shared<MemoryFile>(*this, node, path, mode);
}

Result<std::vector<io::DirEntry>> MemoryDisk::list(const std::string& path) {
  NodePtr node = find(path);
  if (!node) return std::unexpected(not_found(path));
  if (!node->is_directory) return fail(Errc::kIo, fmt::format("{}: Not a directory", path));
  std::vector<io::DirEntry> entries;
  for (auto& [name, child] : node->names) {
    entries.push_back({name, child->is_directory, child->content.size()});
  }
  std::ranges::sort(entries, {}, [](const io::DirEntry& e) {
    return std::pair(crc32c(as_bytes(e.name)), e.name);
  });
  return entries;
}

bool MemoryDisk::exists(const std::string& path) { return find(path) != nullptr; }

Result<void> MemoryDisk::make_directory(const std::string& path) {
  if (auto e = fault(DiskOp::kMakeDir, path)) return std::unexpected(*e);
  NodePtr node = root_;
  for (const std::string& part : split(path)) {
    auto it = node->names.find(part);
    NodePtr next = it == node->names.end() ? nullptr : it->second;
    if (!next) {
      next = std::make_shared<Node>();
      next->is_directory = true;
      change({next, {{node, part, next}}});
    }
    if (!next->is_directory) return fail(Errc::kIo, fmt::format("{}: Not a directory", path));
    node = next;
  }
  return {};
}

Result<void> MemoryDisk::rename(const std::string& from, const std::string& to) {
  if (auto e = fault(DiskOp::kRename, from)) return std::unexpected(*e);
  std::string old_name, new_name;
  auto old_parent = find_parent(from, old_name);
  if (!old_parent) return std::unexpected(old_parent.error());
  auto new_parent = find_parent(to, new_name);
  if (!new_parent) return std::unexpected(new_parent.error());
  NodePtr node = find(from);
  if (!node) return std::unexpected(not_found(from));
  NodePtr target = find(to);
  if (target == node) return {};
  if (target && (target->is_directory != node->is_directory || !target->names.empty())) {
    return fail(Errc::kIo, fmt::format("{}: is there already", to));
  }
  if (target) forget(target);
  change({node, {{*new_parent, new_name, node}, {*old_parent, old_name, nullptr}}});
  return {};
}

Result<void> MemoryDisk::remove(const std::string& path) {
  if (auto e = fault(DiskOp::kRemove, path)) return std::unexpected(*e);
  NodePtr node = find(path);
  if (!node) return {};
  if (!node->names.empty()) return fail(Errc::kIo, fmt::format("{}: Directory not empty", path));
  std::string name;
  auto parent = find_parent(path, name);
  if (!parent) return std::unexpected(parent.error());
  forget(node);
  change({node, {{*parent, name, nullptr}}});
  return {};
}

Result<void> MemoryDisk::remove_tree(const std::string& path) {
  NodePtr node = find(path);
  if (!node) return {};
  std::vector<std::string> names;
  for (auto& [name, child] : node->names) names.push_back(name);
  for (const std::string& name : names) {
    if (auto r = remove_tree(path + "/" + name); !r) return r;
  }
  return remove(path);
}

Result<void> MemoryDisk::sync_directory(const std::string& path) {
  if (auto e = fault(DiskOp::kSyncDir, path)) return std::unexpected(*e);
  NodePtr node = find(path);
  if (!node || !node->is_directory) return std::unexpected(not_found(path));
  counts_.directory_syncs++;
  // What touches this directory, and what happened before to the same files.
  std::unordered_set<Node*> subjects;
  std::vector<bool> chosen(pending_.size());
  for (size_t i = pending_.size(); i-- > 0;) {
    EntryOp& op = pending_[i];
    bool touches = std::ranges::any_of(op.changes, [&](auto& c) { return c.directory == node; });
    chosen[i] = touches || subjects.contains(op.subject.get());
    if (chosen[i]) subjects.insert(op.subject.get());
  }
  std::vector<EntryOp> rest;
  for (size_t i = 0; i < pending_.size(); i++) {
    if (chosen[i]) {
      make_durable(pending_[i]);
    } else {
      rest.push_back(std::move(pending_[i]));
    }
  }
  pending_ = std::move(rest);
  return {};
}

Result<std::unique_ptr<io::DirLock>> MemoryDisk::lock(const std::string& path) {
  if (auto file = open(path, io::OpenMode::kCreate); !file) return std::unexpected(file.error());
  std::string key = fmt::format("{}", fmt::join(split(path), "/"));
  if (!locks_.insert(key).second) return fail(Errc::kExists, fmt::format("{}: is locked", path));
  return std::make_unique<MemoryLock>(*this, key);
}

Result<io::Disk::Space> MemoryDisk::space(const std::string& path) {
  if (!exists(path)) return std::unexpected(not_found(path));
  return Space{space_, space_ > used_ ? space_ - used_ : 0};
}

Result<WallMs> MemoryDisk::modified(const std::string& path) {
  NodePtr node = find(path);
  if (!node) return std::unexpected(not_found(path));
  return node->modified;
}

Result<void> MemoryDisk::set_modified(const std::string& path, WallMs time) {
  NodePtr node = find(path);
  if (!node) return std::unexpected(not_found(path));
  node->modified = time;
  return {};
}

void MemoryDisk::process_died() {
  incarnation_++;
  locks_.clear();
}

void MemoryDisk::power_loss(Rng& rng) {
  process_died();
  bool in_order = rng.one_in(2);  // a journal loses the last operations, not any
  bool cut = false;
  std::unordered_set<Node*> lost;
  for (EntryOp& op : pending_) {
    if (rng.one_in(in_order ? 4 : 2)) cut = true;
    if (!cut && !lost.contains(op.subject.get())) {
      make_durable(op);
    } else {
      lost.insert(op.subject.get());
    }
    if (!in_order) cut = false;
  }
  pending_.clear();
  used_ = 0;
  auto revert = [&](auto& self, Node& node) -> void {
    if (!node.is_directory) {
      node.lose_power(rng);
      used_ += node.content.size();
      return;
    }
    node.names = node.durable_names;
    for (auto& [name, child] : node.names) self(self, *child);
  };
  revert(revert, *root_);
}

void MemoryDisk::sync_everything() {
  for (EntryOp& op : pending_) make_durable(op);
  pending_.clear();
  auto walk = [](auto& self, Node& node) -> void {
    node.make_durable(node.next_sequence);
    for (auto& [name, child] : node.names) self(self, *child);
  };
  walk(walk, *root_);
}

bool MemoryDisk::flip_bit(const std::string& path, uint64_t position, int bit) {
  NodePtr node = find(path);
  if (!node || position >= node->content.size()) return false;
  node->make_durable(node->next_sequence);
  for (ByteBuffer* bytes : {&node->content, &node->durable}) {
    (*bytes)[position] ^= static_cast<uint8_t>(1U << bit);
  }
  return true;
}

// What is handed to a SyncQueue may also be something else with a `sync` (a directory).
uint64_t MemoryDisk::write_mark(io::File& file) {
  auto* memory = dynamic_cast<MemoryFile*>(&file);
  return memory == nullptr ? 0 : memory->mark();
}

Result<void> MemoryDisk::sync_up_to(io::File& file, uint64_t mark) {
  auto* memory = dynamic_cast<MemoryFile*>(&file);
  return memory == nullptr ? file.sync() : memory->sync_up_to(mark);
}

}  // namespace odradek::sim
