#include "log/txn_index.h"

#include <array>

#include "base/bytes.h"

namespace odradek::log {

namespace {
constexpr size_t kEntrySize = 34;

/// A marker comes behind what it ends, and markers are in order.
bool may_follow(const AbortedEntry& e, Offset before) {
  return e.first < e.last && e.last > before;
}
}  // namespace

TxnIndex::TxnIndex(io::Disk& disk, std::string path, uint64_t file_bytes)
    : disk_(disk),
      path_(std::move(path)),
      exists_(file_bytes > 0),
      size_(file_bytes - file_bytes % kEntrySize) {}

Result<std::shared_ptr<io::File>> TxnIndex::file() {
  if (!exists_) return nullptr;
  if (!file_) {
    auto opened = disk_.open(path_, io::OpenMode::kCreate);
    if (!opened) return std::unexpected(opened.error());
    file_ = std::move(*opened);
  }
  return file_;
}

Result<std::shared_ptr<io::File>> TxnIndex::take_unsynced() {
  auto f = file();
  if (f) unsynced_ = false;
  return f;
}

Result<void> TxnIndex::reserve(size_t count) {
  exists_ = true;
  auto f = file();
  if (!f) return std::unexpected(f.error());
  unsynced_ = true;
  return (*f)->write(size_, ByteView(ByteBuffer(count * kEntrySize)));
}

Result<void> TxnIndex::give_back() {
  auto f = file();
  if (!f) return std::unexpected(f.error());
  return (*f)->truncate(size_);
}

Result<void> TxnIndex::add(const AbortedEntry& entry) {
  exists_ = true;
  auto f = file();
  if (!f) return std::unexpected(f.error());
  std::array<uint8_t, kEntrySize> b{};
  store_be<int64_t>(&b[2], entry.producer.value);
  store_be<int64_t>(&b[10], entry.first.value);
  store_be<int64_t>(&b[18], entry.last.value);
  store_be<int64_t>(&b[26], entry.last_stable.value);
  unsynced_ = true;
  if (auto r = (*f)->write(size_, ByteView(b)); !r) return r;
  size_ += kEntrySize;
  return {};
}

Result<std::vector<AbortedEntry>> TxnIndex::entries() {
  std::vector<AbortedEntry> found;
  if (!exists_ || size_ == 0) return found;
  auto f = file();
  if (!f) return std::unexpected(f.error());
  ByteBuffer bytes(size_);
  auto n = (*f)->read(0, MutableBytes(bytes));
  if (!n) return std::unexpected(n.error());
  for (size_t at = 0; at + kEntrySize <= *n; at += kEntrySize) {
    const uint8_t* p = bytes.data() + at;
    if (load_be<int16_t>(p) != 0) return fail(Errc::kCorrupt, path_ + ": unknown version");
    found.push_back(AbortedEntry{.producer = ProducerId(load_be<int64_t>(p + 2)),
                                 .first = Offset(load_be<int64_t>(p + 10)),
                                 .last = Offset(load_be<int64_t>(p + 18)),
                                 .last_stable = Offset(load_be<int64_t>(p + 26))});
  }
  return found;
}

Result<void> TxnIndex::truncate_to(Offset offset) {
  if (!exists_) return {};
  auto all = entries();
  if (!all && all.error().kind != Errc::kCorrupt) return std::unexpected(all.error());
  uint64_t keep = 0;
  if (all) {
    Offset before{-1};
    for (const AbortedEntry& e : *all) {
      if (e.last >= offset || !may_follow(e, before)) break;
      before = e.last;
      keep += kEntrySize;
    }
  }
  auto f = file();
  if (!f) return std::unexpected(f.error());
  unsynced_ = true;
  if (auto r = (*f)->truncate(keep); !r) return r;
  size_ = keep;
  return {};
}

}  // namespace odradek::log
