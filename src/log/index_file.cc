#include "log/index_file.h"

#include <algorithm>

#include "base/check.h"

namespace odradek::log {

IndexFile::IndexFile(io::Disk& disk, std::string path, size_t entry_size, uint64_t file_bytes)
    : disk_(disk),
      path_(std::move(path)),
      entry_size_(entry_size),
      written_(file_bytes / entry_size),
      whole_(file_bytes % entry_size == 0) {
  ODRADEK_CHECK(entry_size <= kMaxEntrySize);
}

Result<io::File*> IndexFile::file() {
  if (!file_) {
    auto opened = disk_.open(path_, io::OpenMode::kCreate);
    if (!opened) return std::unexpected(opened.error());
    file_ = std::move(*opened);
  }
  return file_.get();
}

Result<void> IndexFile::add(ByteView entry) {
  ODRADEK_CHECK(entry.size() == entry_size_);
  if (pending_.size() + entry_size_ > kPendingBytes) {
    if (auto r = flush(); !r) return r;
  }
  pending_.insert(pending_.end(), entry.begin(), entry.end());
  return {};
}

Result<void> IndexFile::flush() {
  if (pending_.empty()) return {};
  if (rewrite_ && overlap() == pending_.size() && as_before(pending_.size())) {
    written_ += pending_.size() / entry_size_;
    pending_.clear();
    return {};
  }
  auto f = file();
  if (!f) return std::unexpected(f.error());
  if (auto r = (*f)->write(written_ * entry_size_, ByteView(pending_)); !r) return r;
  written_ += pending_.size() / entry_size_;
  pending_.clear();
  return {};
}

Result<IndexFile::Entry> IndexFile::at(size_t number) {
  ODRADEK_CHECK(number < count());
  Entry entry{};
  if (number >= written_) {
    std::copy_n(pending_.begin() + static_cast<ptrdiff_t>((number - written_) * entry_size_),
                entry_size_, entry.begin());
    return entry;
  }
  auto f = file();
  if (!f) return std::unexpected(f.error());
  auto n = (*f)->read(number * entry_size_, MutableBytes(entry.data(), entry_size_));
  if (!n) return std::unexpected(n.error());
  if (*n != entry_size_) return fail(Errc::kCorrupt, path_ + ": shorter than it was");
  return entry;
}

Result<int64_t> IndexFile::key_at(Key key, size_t number) {
  auto entry = at(number);
  if (!entry) return std::unexpected(entry.error());
  return key(entry->data());
}

Result<void> IndexFile::load(IndexPage& page, size_t first) {
  auto f = file();
  if (!f) return std::unexpected(f.error());
  page.owner = nullptr;
  size_t n = std::min(IndexPage::kBytes / entry_size_, written_ - first);
  auto got = (*f)->read(first * entry_size_, MutableBytes(page.bytes.data(), n * entry_size_));
  if (!got) return std::unexpected(got.error());
  if (*got != n * entry_size_) return fail(Errc::kCorrupt, path_ + ": shorter than it was");
  page.owner = this;
  page.first = first;
  page.count = n;
  return {};
}

Result<std::optional<size_t>> IndexFile::floor(Key key, int64_t target,
                                               std::unique_ptr<IndexPage>& page) {
  using Found = std::optional<size_t>;
  // Entries [low, high) of a run in memory; the last with key ≤ target.
  auto search = [&](const uint8_t* at, size_t n) -> Found {
    size_t low = 0, high = n;
    while (low < high) {
      size_t mid = (low + high) / 2;
      if (key(at + mid * entry_size_) <= target) {
        low = mid + 1;
      } else {
        high = mid;
      }
    }
    return low == 0 ? Found() : Found(low - 1);
  };
  if (Found found = search(pending_.data(), pending_.size() / entry_size_)) {
    return Found(written_ + *found);
  }
  if (written_ == 0) return Found();
  if (!page) page = std::make_unique<IndexPage>();
  auto in_page = [&]() -> Found {
    Found found = search(page->bytes.data(), page->count);
    return found ? Found(page->first + *found) : found;
  };
  if (page->owner == this) {
    Found found = in_page();
    bool last_page = page->first + page->count == written_;
    if (found && (*found + 1 < page->first + page->count || last_page)) return found;
  }
  size_t per_page = IndexPage::kBytes / entry_size_;
  size_t low = 0, high = (written_ + per_page - 1) / per_page;  // the page is in [low, high)
  while (high - low > 1) {
    size_t mid = (low + high) / 2;
    auto k = key_at(key, mid * per_page);
    if (!k) return std::unexpected(k.error());
    (*k <= target ? low : high) = mid;
  }
  if (auto r = load(*page, low * per_page); !r) return std::unexpected(r.error());
  return in_page();
}

Result<void> IndexFile::truncate(size_t new_count) {
  whole_ = true;
  if (new_count >= written_) {
    if (new_count < count()) pending_.resize((new_count - written_) * entry_size_);
    return {};
  }
  pending_.clear();
  auto f = file();
  if (!f) return std::unexpected(f.error());
  if (auto r = (*f)->truncate(new_count * entry_size_); !r) return r;
  written_ = new_count;
  return {};
}

// ---- rewriting

size_t IndexFile::overlap() const {
  const size_t at = (written_ - rewrite_->from) * entry_size_;
  return at >= rewrite_->old.size() ? 0 : std::min(rewrite_->old.size() - at, pending_.size());
}

bool IndexFile::as_before(size_t bytes) const {
  const size_t at = (written_ - rewrite_->from) * entry_size_;
  return std::equal(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(bytes),
                    rewrite_->old.begin() + static_cast<ptrdiff_t>(at));
}

Result<void> IndexFile::begin_rewrite(size_t keep) {
  ODRADEK_CHECK(keep <= written_);
  auto rewrite = std::make_unique<Rewrite>(Rewrite{keep, !whole_, {}});
  if (keep < written_) {
    auto f = file();
    if (!f) return std::unexpected(f.error());
    rewrite->old.resize((written_ - keep) * entry_size_);
    auto n = (*f)->read(keep * entry_size_, MutableBytes(rewrite->old));
    if (!n) return std::unexpected(n.error());
    rewrite->old.resize(*n);
  }
  pending_.clear();
  written_ = keep;
  whole_ = true;
  rewrite_ = std::move(rewrite);
  return {};
}

Result<void> IndexFile::end_rewrite() {
  if (!rewrite_) return {};
  if (const size_t bytes = overlap(); bytes > 0) {
    if (as_before(bytes)) {
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(bytes));
      written_ += bytes / entry_size_;
    } else if (auto r = flush(); !r) {
      return r;
    }
  }
  const std::unique_ptr<Rewrite> rewrite = std::move(rewrite_);
  const size_t before = rewrite->from * entry_size_ + rewrite->old.size();
  if (!rewrite->ragged && before <= written_ * entry_size_) return {};
  auto f = file();
  if (!f) return std::unexpected(f.error());
  return (*f)->truncate(written_ * entry_size_);
}

Result<bool> IndexFile::ascending(Key first, Key second) {
  if (written_ == 0) return true;
  auto f = file();
  if (!f) return std::unexpected(f.error());
  constexpr size_t kEntriesAtOnce = 4096;
  ByteBuffer buffer(std::min(kEntriesAtOnce, written_) * entry_size_);
  int64_t last_first = 0, last_second = 0;
  for (size_t at = 0; at < written_; at += kEntriesAtOnce) {
    const size_t n = std::min(kEntriesAtOnce, written_ - at);
    auto got = (*f)->read(at * entry_size_, MutableBytes(buffer.data(), n * entry_size_));
    if (!got) return std::unexpected(got.error());
    if (*got != n * entry_size_) return false;
    for (size_t i = 0; i < n; i++) {
      const uint8_t* entry = buffer.data() + i * entry_size_;
      const int64_t a = first(entry), b = second(entry);
      const bool good = at + i == 0 ? a > 0 || b > 0 : a > last_first && b >= last_second;
      if (!good) return false;
      last_first = a;
      last_second = b;
    }
  }
  return true;
}

Result<std::shared_ptr<io::File>> IndexFile::finish() {
  if (auto r = flush(); !r) return std::unexpected(r.error());
  auto f = file();
  if (!f) return std::unexpected(f.error());
  auto size = (*f)->size();
  if (!size) return std::unexpected(size.error());
  if (*size != written_ * entry_size_) {
    if (auto r = (*f)->truncate(written_ * entry_size_); !r) return std::unexpected(r.error());
  }
  return file_;
}

}  // namespace odradek::log
