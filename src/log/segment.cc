#include "log/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "log/batch_walker.h"

namespace odradek::log {

namespace {

constexpr size_t kIndexEntry = 8;
constexpr size_t kTimeEntry = 12;
constexpr int64_t kMaxRelative = INT32_MAX;

int64_t index_offset(const uint8_t* entry) { return load_be<int32_t>(entry); }
int64_t time_timestamp(const uint8_t* entry) { return load_be<int64_t>(entry); }
int64_t time_offset(const uint8_t* entry) { return load_be<int32_t>(entry + 8); }

std::string join(const SegmentContext& context, Offset base, std::string_view suffix) {
  return context.folder + "/" + file_name(base, suffix) + context.suffix;
}

}  // namespace

Segment::Segment(SegmentContext& context, Offset base, const SegmentFiles& files, WallMs now,
                 uint64_t random)
    : context_(context),
      base_(base),
      size_(files.log),
      index_(context.disk, join(context, base, kIndexSuffix), kIndexEntry, files.index),
      time_index_(context.disk, join(context, base, kTimeIndexSuffix), kTimeEntry,
                  files.time_index),
      txn_index_(context.disk, join(context, base, kTxnIndexSuffix), files.txn_index),
      created_(now) {
  int64_t bound = std::min(context.config.segment_jitter_ms.value, context.config.segment_ms.value);
  jitter_ms_ = bound <= 0 ? 0 : static_cast<int64_t>(random % static_cast<uint64_t>(bound));
}

std::string Segment::path(std::string_view suffix) const { return join(context_, base_, suffix); }

Result<std::shared_ptr<io::File>> Segment::file() {
  if (!file_) {
    auto opened = context_.disk.open(path(kLogSuffix), io::OpenMode::kCreate);
    if (!opened) return std::unexpected(opened.error());
    file_ = std::move(*opened);
  }
  return file_;
}

size_t Segment::max_entries(size_t entry_size) const {
  return static_cast<size_t>(context_.config.segment_index_bytes) / entry_size;
}

// ---- append

Result<bool> Segment::should_roll(uint64_t bytes, WallMs max_timestamp, Offset last, WallMs now) {
  if (size_ + bytes > static_cast<uint64_t>(context_.config.segment_bytes)) return true;
  if (last - base_ > kMaxRelative) return true;
  // One entry of the time index is kept back for the roll itself.
  if (index_.count() >= max_entries(kIndexEntry) ||
      time_index_.count() + 1 >= max_entries(kTimeEntry)) {
    return true;
  }
  if (size_ == 0) return false;
  auto first = first_timestamp();
  if (!first) return std::unexpected(first.error());
  int64_t waited = *first && (*first)->value >= 0 ? max_timestamp - **first : now - created_;
  const LogConfig& config = context_.config;
  // What has to be compacted by then must not stay in the last segment.
  int64_t limit = config.segment_ms.value;
  if (config.compact_policy) limit = std::min(limit, config.max_compaction_lag.value);
  return waited > limit - jitter_ms_;
}

Result<std::optional<WallMs>> Segment::first_timestamp() {
  if (!first_timestamp_ && size_ > 0) {
    auto f = file();
    if (!f) return std::unexpected(f.error());
    BatchWalker walker(**f, 0, size_, base_);
    auto batch = walker.next();
    if (!batch) return std::unexpected(batch.error());
    if (*batch) first_timestamp_ = (*batch)->max_timestamp();
  }
  return first_timestamp_;
}

Result<void> Segment::append(ByteView batches, bool write) {
  auto f = file();
  if (!f) return std::unexpected(f.error());
  if (auto r = load_time(); !r) return r;
  if (auto r = write ? (*f)->write(size_, batches) : Result<void>{}; !r) {
    // Whatever part of it was written must not stay: the next start would take it for data.
    if (auto cut = (*f)->truncate(size_); !cut) broken_ = true;
    return r;
  }
  if (size_ == 0) {
    first_timestamp_ = BatchView(batches.data()).max_timestamp();
    for (uint64_t at = 0; at < batches.size();) {
      BatchView batch(batches.data() + at);
      first_timestamp_ = std::max(*first_timestamp_, batch.max_timestamp());
      at += batch.size();
    }
  }
  for (uint64_t at = 0; at < batches.size();) {
    BatchView batch(batches.data() + at);
    index_batch(batch, size_ + at);
    at += batch.size();
  }
  size_ += batches.size();
  return {};
}

// The index entry rule: before a batch is counted, an entry for it if more than the interval has
// been appended since the last entry.
void Segment::index_batch(const BatchView& batch, uint64_t position) {
  if (batch.max_timestamp() > max_.timestamp) {
    max_ = MaxTimestamp{batch.max_timestamp(), batch.last_offset()};
  }
  if (bytes_since_entry_ > static_cast<uint64_t>(context_.config.index_interval_bytes)) {
    add_offset_entry(batch.last_offset(), position);
    add_time_entry();
    bytes_since_entry_ = 0;
  }
  bytes_since_entry_ += batch.size();
}

// A full disk must not fail an append that is already in the log: an index with a hole only makes
// look-ups walk further, and recovery or finish() will complain if the disk stays broken.
void Segment::add_offset_entry(Offset last, uint64_t position) {
  if (index_.count() >= max_entries(kIndexEntry) || last - base_ > kMaxRelative) return;
  uint8_t entry[kIndexEntry];
  store_be<int32_t>(entry, static_cast<int32_t>(last - base_));
  store_be<int32_t>(entry + 4, static_cast<int32_t>(position));
  if (auto r = index_.add(ByteView(entry)); !r) {
    context_.logger.warn("cannot write to an index: {}", r.error().message);
  }
}

void Segment::add_time_entry() {
  if (max_.timestamp <= last_time_entry_ || max_.offset - base_ > kMaxRelative) return;
  uint8_t entry[kTimeEntry];
  store_be<int64_t>(entry, max_.timestamp.value);
  store_be<int32_t>(entry + 8, static_cast<int32_t>(max_.offset - base_));
  if (auto r = time_index_.add(ByteView(entry)); !r) {
    context_.logger.warn("cannot write to an index: {}", r.error().message);
    return;
  }
  last_time_entry_ = max_.timestamp;
}

// ---- look-ups

Result<std::optional<uint64_t>> Segment::indexed_position(Offset target) {
  auto number = index_.floor(index_offset, target - base_, context_.page);
  if (!number) return std::unexpected(number.error());
  if (!*number) return std::nullopt;
  auto entry = index_.at(**number);
  if (!entry) return std::unexpected(entry.error());
  return static_cast<uint64_t>(load_be<uint32_t>(entry->data() + 4));
}

Result<std::optional<BatchAt>> Segment::walk_to(Offset target, uint64_t position) {
  auto f = file();
  if (!f) return std::unexpected(f.error());
  BatchWalker walker(**f, position, size_, base_);
  while (true) {
    auto batch = walker.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) return std::nullopt;
    if ((*batch)->last_offset() >= target) {
      return BatchAt{walker.position(), (*batch)->size(), (*batch)->base_offset(),
                     (*batch)->last_offset()};
    }
  }
}

Result<std::optional<BatchAt>> Segment::locate(Offset target) {
  auto position = indexed_position(target);
  if (!position) return std::unexpected(position.error());
  if (!*position) return walk_to(target, 0);
  // The entry's batch ends at or below the target; if what is there does not, or is no batch, the
  // index lies (it has no checksum).
  auto found = **position < size_ ? walk_to(target, **position)
                                  : Result<std::optional<BatchAt>>(fail(Errc::kCorrupt, ""));
  bool believable =
      found.has_value() && (!*found || (*found)->position > **position || (*found)->base <= target);
  if (believable || (!found && found.error().kind != Errc::kCorrupt)) return found;
  // If the way from the beginning is barred too, it is the log that is damaged there: its index is
  // not to blame, and shows the next start what lies behind.
  auto slowly = walk_to(target, 0);
  if (!slowly) return slowly;
  if (rebuild_barred_) return slowly;
  context_.logger.warn("{} does not fit its log and is written anew", index_.path());
  if (auto r = rebuild_indexes(); !r) {
    if (r.error().kind != Errc::kCorrupt) return std::unexpected(r.error());
    rebuild_barred_ = true;
  }
  return slowly;
}

Result<Offset> Segment::next_offset() {
  uint64_t position = 0;
  Offset next = base_;
  if (size_t n = index_.count(); n > 0) {
    auto entry = index_.at(n - 1);
    if (!entry) return std::unexpected(entry.error());
    position = load_be<uint32_t>(entry->data() + 4);
    if (position >= size_) return fail(Errc::kCorrupt, index_.path() + ": points past its log");
  }
  auto f = file();
  if (!f) return std::unexpected(f.error());
  BatchWalker walker(**f, position, size_, base_);
  while (true) {
    auto batch = walker.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) return next;
    next = (*batch)->last_offset() + int64_t{1};
  }
}

Result<uint64_t> Segment::position_before(Offset offset) {
  auto found = locate(offset);
  if (!found) return std::unexpected(found.error());
  auto position = indexed_position(offset);
  if (!position) return std::unexpected(position.error());
  return position->value_or(0);
}

// ---- time

Result<void> Segment::load_time() {
  if (time_loaded_) return {};
  max_ = MaxTimestamp{kNoTimestamp, base_};
  last_time_entry_ = kNoTimestamp;
  if (size_t n = time_index_.count(); n > 0) {
    auto entry = time_index_.at(n - 1);
    if (!entry) return std::unexpected(entry.error());
    last_time_entry_ = WallMs(time_timestamp(entry->data()));
    max_ = MaxTimestamp{last_time_entry_, base_ + time_offset(entry->data())};
  }
  time_loaded_ = true;
  return {};
}

Result<MaxTimestamp> Segment::max_timestamp() {
  if (auto r = load_time(); !r) return std::unexpected(r.error());
  return max_;
}

Result<WallMs> Segment::age_timestamp() {
  auto max = max_timestamp();
  if (!max) return std::unexpected(max.error());
  if (max->timestamp.value >= 0) return max->timestamp;
  return modified_ ? *modified_ : context_.disk.modified(path(kLogSuffix));
}

Result<uint64_t> Segment::position_for_timestamp(WallMs timestamp, Offset from) {
  auto number = time_index_.floor(time_timestamp, timestamp.value, context_.page);
  if (!number) return std::unexpected(number.error());
  Offset offset = from;
  if (*number) {
    auto entry = time_index_.at(**number);
    if (!entry) return std::unexpected(entry.error());
    offset = std::max(from, base_ + time_offset(entry->data()));
  }
  return position_before(offset);
}

// ---- the end

Result<void> Segment::truncate_to(Offset offset) {
  context_.page.reset();
  auto at = locate(offset);
  if (!at) return std::unexpected(at.error());
  return cut(offset, *at ? (*at)->position : size_);
}

Result<void> Segment::cut(Offset offset, uint64_t position) {
  context_.page.reset();
  if (position < size_) {
    auto f = file();
    if (!f) return std::unexpected(f.error());
    if (auto r = (*f)->truncate(position); !r) return r;
    size_ = position;
  }
  int64_t keep_below = offset - base_ - 1;  // relative offsets up to this stay
  auto cut = [&](IndexFile& index, IndexFile::Key key) -> Result<void> {
    auto last = index.floor(key, keep_below, context_.page);
    if (!last) return std::unexpected(last.error());
    context_.page.reset();
    return index.truncate(*last ? **last + 1 : 0);
  };
  if (auto r = cut(index_, index_offset); !r) return r;
  if (auto r = cut(time_index_, time_offset); !r) return r;
  if (auto r = txn_index_.truncate_to(offset); !r) return r;
  bytes_since_entry_ = 0;
  first_timestamp_.reset();
  time_loaded_ = false;
  if (auto r = load_time(); !r) return r;
  // Batches behind the last time index entry may hold a larger timestamp.
  auto from = max_.timestamp.value < 0 ? Result<uint64_t>(0) : position_before(max_.offset);
  if (!from) return std::unexpected(from.error());
  auto f = file();
  if (!f) return std::unexpected(f.error());
  BatchWalker walker(**f, *from, size_, base_);
  while (true) {
    auto batch = walker.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) return {};
    if ((*batch)->max_timestamp() > max_.timestamp) {
      max_ = MaxTimestamp{(*batch)->max_timestamp(), (*batch)->last_offset()};
    }
  }
}

Result<std::vector<std::shared_ptr<io::File>>> Segment::finish() {
  if (auto r = load_time(); !r) return std::unexpected(r.error());
  add_time_entry();
  return write_indexes();
}

Result<std::vector<std::shared_ptr<io::File>>> Segment::write_indexes() {
  std::vector<std::shared_ptr<io::File>> files;
  for (IndexFile* index : {&index_, &time_index_}) {
    auto f = index->finish();
    if (!f) return std::unexpected(f.error());
    files.push_back(std::move(*f));
  }
  auto txn = txn_index_.take_unsynced();
  if (!txn) return std::unexpected(txn.error());
  if (*txn) files.push_back(std::move(*txn));
  return files;
}

SegmentFiles Segment::files() const {
  return {.log = size_,
          .index = index_.count() * kIndexEntry,
          .time_index = time_index_.count() * kTimeEntry,
          .txn_index = txn_index_.bytes()};
}

void Segment::adopt(std::shared_ptr<io::File> log, std::shared_ptr<io::File> index,
                    std::shared_ptr<io::File> time_index, std::shared_ptr<io::File> txn_index,
                    WallMs modified) {
  file_ = std::move(log);
  index_.adopt(std::move(index));
  time_index_.adopt(std::move(time_index));
  txn_index_.adopt(std::move(txn_index));
  modified_ = modified;
}

void Segment::release() { adopt(nullptr, nullptr, nullptr, nullptr, *modified_); }

void Segment::folder_renamed() {
  index_.renamed(path(kIndexSuffix));
  time_index_.renamed(path(kTimeIndexSuffix));
  txn_index_.renamed(path(kTxnIndexSuffix));
}

Result<void> Segment::doom(std::vector<std::string>& doomed) {
  // The log first: an index without a log is dropped at the next start.
  for (std::string_view suffix : {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTxnIndexSuffix}) {
    std::string from = path(suffix);
    if (suffix != kLogSuffix && !context_.disk.exists(from)) continue;
    std::string to = from + std::string(kDeletedSuffix);
    if (auto r = context_.disk.rename(from, to); !r) return r;
    doomed.push_back(std::move(to));
  }
  return {};
}

// ---- recovery

bool Segment::indexes_suspect() const { return !index_.whole() || !time_index_.whole(); }

Result<Segment::RecoveryStart> Segment::recovery_start(Offset point) {
  if (point <= base_ || indexes_suspect()) return RecoveryStart{};
  const auto position_of = [](const uint8_t* entry) -> int64_t {
    return load_be<uint32_t>(entry + 4);
  };
  for (auto& [index, first, second] :
       {std::tuple<IndexFile&, IndexFile::Key, IndexFile::Key>(index_, index_offset, position_of),
        {time_index_, time_timestamp, time_offset}}) {
    auto sound = index.ascending(first, second);
    if (!sound) return std::unexpected(sound.error());
    if (!*sound) return RecoveryStart{};
  }
  auto number = index_.floor(index_offset, point - base_ - 1, context_.page);
  if (!number) return std::unexpected(number.error());
  if (!*number) return RecoveryStart{};
  auto entry = index_.at(**number);
  if (!entry) return std::unexpected(entry.error());
  const int64_t last = index_offset(entry->data());
  auto time = time_index_.floor(time_offset, last, context_.page);
  if (!time) return std::unexpected(time.error());
  RecoveryStart start{.position = load_be<uint32_t>(entry->data() + 4),
                      .last = base_ + last,
                      .entries = **number + 1,
                      .time_entries = *time ? **time + 1 : 0};
  return start.position < size_ ? start : RecoveryStart{};
}

Result<void> Segment::recovery_begin(const RecoveryStart& from) {
  context_.page.reset();
  time_loaded_ = true;
  max_ = MaxTimestamp{kNoTimestamp, base_};
  last_time_entry_ = kNoTimestamp;
  if (from.time_entries > 0) {
    auto entry = time_index_.at(from.time_entries - 1);
    if (!entry) return std::unexpected(entry.error());
    last_time_entry_ = WallMs(time_timestamp(entry->data()));
    max_ = MaxTimestamp{last_time_entry_, base_ + time_offset(entry->data())};
  }
  bytes_since_entry_ = 0;
  first_timestamp_.reset();
  if (auto r = index_.begin_rewrite(from.entries); !r) return r;
  return time_index_.begin_rewrite(from.time_entries);
}

void Segment::recovery_batch(const BatchView& batch, uint64_t position) {
  index_batch(batch, position);
}

Result<void> Segment::recovery_end(uint64_t valid_bytes) {
  if (valid_bytes < size_) {
    auto f = file();
    if (!f) return std::unexpected(f.error());
    if (auto r = (*f)->truncate(valid_bytes); !r) return r;
    size_ = valid_bytes;
  }
  add_time_entry();
  if (auto r = index_.end_rewrite(); !r) return r;
  return time_index_.end_rewrite();
}

Result<void> Segment::rebuild_indexes() {
  auto f = file();
  if (!f) return std::unexpected(f.error());
  // An index of a half would end the log there at the next start: first see that the way is free.
  BatchWalker scout(**f, 0, size_, base_);
  while (true) {
    auto batch = scout.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) break;
  }
  if (auto r = recovery_begin({}); !r) return r;
  BatchWalker walker(**f, 0, size_, base_);
  while (true) {
    auto batch = walker.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) break;
    index_batch(**batch, walker.position());
  }
  if (auto r = recovery_end(size_); !r) return r;
  auto files = finish();
  if (!files) return std::unexpected(files.error());
  // Nobody looks at them again while the recovery point lies above: they must not be torn.
  for (auto& index : *files) {
    if (auto r = index->sync(); !r) return r;
  }
  return {};
}

}  // namespace odradek::log
