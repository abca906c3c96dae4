#include "sim/group_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace odradek::sim {

std::string text(const std::set<History::Partition>& partitions) {
  std::string out;
  for (const auto& at : partitions) out += (out.empty() ? "" : ", ") + at.text();
  return "[" + out + "]";
}

// ---- membership

int32_t GroupHistory::generation_known(const Group& group, Moment before) {
  for (auto it = group.generations.rbegin(); it != group.generations.rend(); ++it) {
    if (it->second.known < before) return it->first;
  }
  return -1;
}

void GroupHistory::joined(const std::string& id, int32_t generation, bool fresh, Moment sent) {
  Group& group = groups_[id];
  const int32_t known = generation_known(group, sent);
  if (generation < known || (fresh && generation == known)) {
    fail(fmt::format("{}: a {} member joined generation {}, after generation {}", id,
                     fresh ? "new" : "known", generation, known));
  }
  if (generation <= group.joined || !still_counts(sent)) return;
  group.joined = generation;
  group.joined_at = moment();
}

void GroupHistory::assigned(const std::string& id, int32_t generation, const std::string& owner,
                            const Partitions& partitions, Moment sent) {
  Group& group = groups_[id];
  was_loaded(group, sent);
  if (const int32_t known = generation_known(group, sent); generation < known) {
    fail(fmt::format("{}: {} was given {} in generation {}, after generation {}", id, owner,
                     text(partitions), generation, known));
  }
  auto [at, fresh] = group.generations.try_emplace(generation);
  Generation& g = at->second;
  if (fresh) {
    g.known = moment();
    counts_.generations++;
    close_before(group, generation);
  }
  auto [mine, first] = g.given.try_emplace(owner, partitions);
  if (!first && mine->second != partitions) {
    fail(fmt::format("{}: in generation {}, {} was given {} and then {}", id, generation, owner,
                     text(mine->second), text(partitions)));
  }
  for (const Partition& p : partitions) {
    const auto [other, free] = g.owners.try_emplace(p, owner);
    if (!free && other->second != owner) {
      fail(fmt::format("{}: in generation {}, {} was given to {} and to {}", id, generation,
                       p.text(), other->second, owner));
    }
  }
}

void GroupHistory::left(const std::string& group, const std::string& member, Moment sent) {
  if (still_counts(sent)) groups_[group].left.try_emplace(member, moment());
}

void GroupHistory::interrupted() {
  const Moment now = interrupted_ = moment();
  for (auto& [id, group] : groups_) {
    group.joined = -1;
    group.left.clear();
  }
  // Whose answer is still waited for may come to the next incarnation.
  for (Write& write : writes_) {
    if (write.answer == Answer::kUnknown) write.done_by = std::min(write.done_by, now);
  }
}

// ---- members of the consumer protocol

void GroupHistory::at_epoch(const std::string& id, int32_t epoch, Moment sent) {
  Group& group = groups_[id];
  was_loaded(group, sent);
  if (group.epochs.insert(epoch).second) counts_.generations++;
}

void GroupHistory::given(const std::string& id, const std::string& member,
                         const Partitions& partitions, MonoNs now, MonoNs until) {
  Group& group = groups_[id];
  for (const Partition& p : partitions) {
    Holder& holder = group.holders[p];
    if (holder.member == member && !holder.returned) continue;
    const auto held = group.until.find(holder.member);
    if (!holder.returned && held != group.until.end() && now < held->second) {
      fail(fmt::format("{}: {} is given to {}, and {} still has it", id, p.text(), member,
                       holder.member));
    }
    holder = {member, moment(), false};
  }
  in_touch(id, member, until);
}

void GroupHistory::in_touch(const std::string& id, const std::string& member, MonoNs until) {
  groups_[id].until[member] = until;
}

void GroupHistory::returned(const std::string& id, const std::string& member,
                            const Partitions& kept) {
  for (auto& [p, holder] : groups_[id].holders) {
    if (holder.member == member && !kept.contains(p)) holder.returned = true;
  }
}

// ---- commits

std::string GroupHistory::name(const Write& w) const {
  return fmt::format("{} offset {} by {} in generation {}", w.what.at.text(), w.what.offset,
                     w.what.member, w.what.generation);
}

GroupHistory::CommitId GroupHistory::commit(Commit what) {
  const CommitId id = writes_.size();
  Group& group = groups_[what.group];
  group.writes[what.at].push_back(id);
  if (what.offset > group.consumed[what.at]) {
    fail(fmt::format("{}: {} commits {} offset {}, and has consumed up to {}", what.group,
                     what.member, what.at.text(), what.offset, group.consumed[what.at]));
  }
  writes_.push_back(Write{.what = std::move(what), .sent = moment()});
  return id;
}

/// Of a new generation the coordinator accepts nothing from an older one.
void GroupHistory::close_before(Group& group, int32_t generation) {
  const Moment now = moment();
  for (auto& [at, ids] : group.writes) {
    for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
      Write& w = writes_[*id];
      const bool open = w.answer == Answer::kNone || w.answer == Answer::kUnknown;
      const bool member = w.what.generation >= 0;
      if (open && member && w.what.generation < generation) w.done_by = std::min(w.done_by, now);
    }
  }
}

void GroupHistory::check_member(const Write& w) {
  const Group& group = groups_[w.what.group];
  if (w.what.generation < 0) return;
  const auto left = group.left.find(w.what.member);
  if (!trouble_ && left != group.left.end() && left->second < w.sent) {
    fail(fmt::format("{}: {} was accepted, which had left", w.what.group, name(w)));
  }
  if (w.what.consumer_protocol) return check_holder(w);
  int32_t known = generation_known(group, w.sent);
  // A coordinator that begins anew has forgotten who joined.
  if (!trouble_ && group.joined > known && group.joined_at < w.sent) known = group.joined;
  if (w.what.generation < known) {
    fail(fmt::format("{}: {} was accepted, after generation {}", w.what.group, name(w), known));
  }
}

void GroupHistory::check_holder(const Write& w) {
  const Group& group = groups_[w.what.group];
  const auto holder = group.holders.find(w.what.at);
  if (holder == group.holders.end() || holder->second.member == w.what.member) return;
  if (holder->second.since < w.sent) {
    fail(fmt::format("{}: {} was accepted, after {} was given it", w.what.group, name(w),
                     holder->second.member));
  }
}

void GroupHistory::accepted(CommitId id) {
  counts_.accepted++;
  Write& w = writes_[id];
  w.answer = Answer::kAccepted;
  w.certain = true;
  w.done_by = std::min(w.done_by, moment());
  was_loaded(groups_[w.what.group], w.sent);
  check_member(w);
}

void GroupHistory::refused(CommitId id) {
  counts_.refused++;
  Write& w = writes_[id];
  w.answer = Answer::kRefused;
  if (w.certain) fail(fmt::format("{}: {} was refused, and done", w.what.group, name(w)));
}

void GroupHistory::read(const std::string& id, const Partition& at, int64_t offset,
                        std::string_view metadata, Moment asked) {
  counts_.reads++;
  Group& group = groups_[id];
  was_loaded(group, asked);
  // Which of those that are certain was sent last: nothing that was done before is to be seen.
  const Write* last = nullptr;
  for (const CommitId c : group.writes[at]) {
    const Write& w = writes_[c];
    if (w.certain && w.done_by < asked && (last == nullptr || w.sent > last->sent)) last = &w;
  }
  if (offset < 0) {
    if (last != nullptr)
      fail(fmt::format("{}: {} was committed, and nothing is read", id, name(*last)));
    return;
  }
  CommitId read = 0;
  const std::string_view number = metadata.substr(std::min<size_t>(6, metadata.size()));
  std::from_chars(number.data(), number.data() + number.size(), read);
  const Commit* what = read < writes_.size() ? &writes_[read].what : nullptr;
  if (what == nullptr || what->offset != offset || what->at != at || what->group != id) {
    return fail(fmt::format("{}: {} offset {} with '{}' was read, and nobody committed it", id,
                            at.text(), offset, metadata));
  }
  Write& w = writes_[read];
  if (w.answer == Answer::kRefused)
    return fail(fmt::format("{}: {} was refused, and is read", id, name(w)));
  if (last != nullptr && w.done_by < last->sent) {
    fail(fmt::format("{}: {} was committed, and {}, which is older, is read", id, name(*last),
                     name(w)));
  }
  w.certain = true;
  w.done_by = std::min(w.done_by, moment());
}

int64_t GroupHistory::highest_accepted(const std::string& id, const Partition& at) const {
  int64_t highest = -1;
  const auto group = groups_.find(id);
  if (group == groups_.end()) return highest;
  const auto ids = group->second.writes.find(at);
  if (ids == group->second.writes.end()) return highest;
  for (const CommitId c : ids->second) {
    const Write& w = writes_[c];
    if (w.certain) highest = std::max(highest, w.what.offset);
  }
  return highest;
}

// ---- consuming

void GroupHistory::consumed(const std::string& id, const Partition& at, int64_t from, int64_t to) {
  int64_t& so_far = groups_[id].consumed[at];
  counts_.consumed += static_cast<uint64_t>(to - from);
  if (from > so_far) {
    fail(fmt::format("{}: {} is consumed from {} on, and the group has come to {}", id, at.text(),
                     from, so_far));
  }
  so_far = std::max(so_far, to);
}

}  // namespace odradek::sim
