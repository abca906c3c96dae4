#include "io/sync_round.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace odradek::io {

void SyncRound::add(SyncJob& job) {
  std::ranges::move(job.files, std::back_inserter(files_));
  appended_.reserve(appended_.size() + job.appended.size());
  size_t at = 0;
  for (Appended& each : job.appended) {
    if (each.carried) {
      each.bytes = ByteView(job.bytes).subspan(at, each.to - each.from);
      at += each.bytes.size();
    }
    appended_.push_back(std::move(each));
  }
  begin_ |= job.order == AheadOrder::kBegin;
  next_lap_ |= job.order == AheadOrder::kNextLap;
  forget_ |= job.order == AheadOrder::kForget;
}

void SyncRound::begin() {
  if (ahead_ != nullptr) {
    if (begin_) begun_ = ahead_->begin();
    if (next_lap_) ahead_->next_lap();
    if (forget_) std::ranges::move(ahead_->unflushed(), std::back_inserter(files_));
    copy_ = !forget_ && !appended_.empty() && ahead_->takes(appended_);
  }
  if (copy_) return;
  for (const Appended& each : appended_) {
    refused_ |= each.unwritten;
    if (!each.unwritten) files_.push_back(each.file);
  }
}

Result<Synced> SyncRound::finish(const Result<void>& synced) {
  if (!begun_) return std::unexpected(begun_.error());
  if (!synced) return std::unexpected(synced.error());
  if (ahead_ == nullptr) return Synced{.refused = refused_};
  // The device tells of what it could not write once: the flush of a lap may have heard what was
  // meant for us.
  if (auto r = ahead_->intact(); !r) return std::unexpected(r.error());
  if (forget_) {
    if (auto r = ahead_->forget(); !r) return std::unexpected(r.error());
  }
  return settle(copy_ ? write_ahead() : 0);
}

std::optional<AheadWrite> SyncRound::direct() {
  if (!copy_ || forget_ || !files_.empty() || !begun_) return std::nullopt;
  return ahead_->prepare(appended_);
}

Result<Synced> SyncRound::wrote(const Result<void>& result) {
  return settle(ahead_->wrote(appended_, result));
}

Result<uint64_t> SyncRound::write_ahead() {
  const auto write = ahead_->prepare(appended_);
  if (!write) return ahead_->write(appended_);
  auto result = write->file->write(write->position, write->bytes);
  if (result) result = write->file->sync();
  return ahead_->wrote(appended_, result);
}

/// With the lap, or 0 if the bytes are in none. For one that had no space the files are synced.
Result<Synced> SyncRound::settle(Result<uint64_t> lap) {
  if (!lap && lap.error().kind != Errc::kNoSpace) return std::unexpected(lap.error());
  if (!lap) {
    for (const Appended& each : appended_) {
      refused_ |= each.unwritten;
      if (each.unwritten) continue;
      if (auto r = each.file->sync(); !r) return std::unexpected(r.error());
    }
  }
  return Synced{.lap = lap.value_or(0), .flushed = ahead_->flushed_lap(), .refused = refused_};
}

}  // namespace odradek::io
