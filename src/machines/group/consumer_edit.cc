#include "machines/group/consumer_edit.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "machines/group/consumer_records.h"
#include "machines/group/metadata_hash.h"
#include "machines/group/topic_regex.h"

namespace odradek::machines::group {

namespace {

const ConsumerGroup& nobody() {
  static const ConsumerGroup none;
  return none;
}

/// A record may say any number; behind the largest comes the least, as in Java.
int32_t after(int32_t epoch) { return static_cast<int32_t>(static_cast<uint32_t>(epoch) + 1); }

}  // namespace

int32_t group_setting(const Draft& draft, std::string_view group, metadata::GroupKey key,
                      const Settings::Bounded& setting) {
  const auto own =
      draft.state.image()->config(metadata::ResourceType::kGroup, group, metadata::def(key).name);
  if (!own) return setting.of_broker;
  int32_t value = setting.of_broker;
  std::from_chars(own->data(), own->data() + own->size(), value);
  // The bounds may have been others when it was set.
  return std::clamp(value, setting.min, std::max(setting.min, setting.max));
}

ConsumerEdit::ConsumerEdit(Draft& draft, std::string id) : draft_(draft), id_(std::move(id)) {
  const ConsumerGroup* known = draft.state.find_consumer(id_);
  original_ = known != nullptr ? known : &nobody();
}

ConsumerGroup& ConsumerEdit::copy() {
  if (!copy_) copy_ = *original_;
  return *copy_;
}

// ---- what is stored

void ConsumerEdit::put_epoch(int32_t epoch, int64_t metadata_hash) {
  records_.push_back(epoch_record(id_, epoch, metadata_hash));
  copy().epoch = epoch;
  copy().metadata_hash = metadata_hash;
}

void ConsumerEdit::put_member(const ConsumerMember& member) {
  records_.push_back(member_record(id_, member));
  copy().set_member(std::make_shared<const ConsumerMember>(member));
}

void ConsumerEdit::put_assignment(const ConsumerMember& member) {
  records_.push_back(assignment_record(id_, member));
  copy().set_member(std::make_shared<const ConsumerMember>(member));
}

void ConsumerEdit::put_target(const std::string& member, Target target) {
  records_.push_back(target_record(id_, member, target));
  copy().targets.insert_or_assign(member, std::make_shared<const Target>(std::move(target)));
}

void ConsumerEdit::put_target_epoch(int32_t epoch, WallMs at) {
  records_.push_back(target_epoch_record(id_, epoch, at));
  copy().assignment_epoch = epoch;
  copy().assigned_at = at;
}

void ConsumerEdit::put_regex(const std::string& expression, ResolvedRegex resolved) {
  records_.push_back(regex_record(id_, expression, resolved));
  copy().regexes.insert_or_assign(expression, std::move(resolved));
}

void ConsumerEdit::remove_regex(const std::string& expression) {
  records_.push_back(regex_tombstone(id_, expression));
  copy().regexes.erase(expression);
}

void ConsumerEdit::remove_old_metadata() {
  records_.push_back(old_metadata_tombstone(id_));
  copy().old_metadata = false;
}

void ConsumerEdit::remove_member(const std::string& member) {
  records_.push_back(assignment_tombstone(id_, member));
  records_.push_back(target_tombstone(id_, member));
  records_.push_back(member_tombstone(id_, member));
  copy().targets.erase(member);
  copy().erase_member(member);
}

void ConsumerEdit::remove_group() {
  const ConsumerGroup gone = group();
  for (const auto& [id, m] : gone.members()) records_.push_back(assignment_tombstone(id_, id));
  for (const auto& [id, m] : gone.members()) records_.push_back(target_tombstone(id_, id));
  records_.push_back(target_epoch_tombstone(id_));
  for (const auto& [id, m] : gone.members()) records_.push_back(member_tombstone(id_, id));
  for (const auto& [expression, r] : gone.regexes)
    records_.push_back(regex_tombstone(id_, expression));
  records_.push_back(old_metadata_tombstone(id_));
  records_.push_back(epoch_tombstone(id_));
  copy_ = ConsumerGroup();
}

// ---- steps

void ConsumerEdit::bump(bool wanted) {
  if (!wanted && group().checked == draft_.state.metadata_version()) return;
  const int64_t hash = metadata_hash(group().subscribed(), image());
  if (wanted || hash != group().metadata_hash) put_epoch(after(group().epoch), hash);
  if (group().old_metadata) remove_old_metadata();
  checked_ = true;
}

/// As Apache sees it: one expression for all, or the same names for all.
bool ConsumerEdit::homogeneous() const {
  const ConsumerGroup& g = group();
  const auto expressions = g.expressions();
  if (expressions.empty()) {
    const auto same = [&](const auto& m) {
      return m.second->topics == g.members().begin()->second->topics;
    };
    return std::ranges::all_of(g.members(), same);
  }
  const auto names_none = [](const auto& m) { return m.second->topics.empty(); };
  return expressions.begin()->second == g.members().size() &&
         std::ranges::all_of(g.members(), names_none);
}

void ConsumerEdit::compute_target() {
  const ConsumerGroup& g = group();
  assignor::Topics topics;
  for (const std::string& name : g.subscribed()) {
    const metadata::Topic* topic = image().topic(name);
    if (topic != nullptr)
      topics[topic->id] = {topic->name, static_cast<int32_t>(topic->partitions.size())};
  }
  std::vector<std::string> ids;
  std::vector<std::vector<Uuid>> subscriptions;
  for (const auto& [id, m] : g.members()) {
    ids.push_back(id);
    auto& subscribed = subscriptions.emplace_back();
    for (const std::string& name : g.topics_of(*m)) {
      const metadata::Topic* topic = image().topic(name);
      subscribed.push_back(topic != nullptr ? topic->id : Uuid());
    }
  }
  assignor::Group spec{.homogeneous = homogeneous()};
  for (size_t i = 0; i < ids.size(); i++) {
    const ConsumerMember& m = *g.member(ids[i]);
    assignor::Member member{
        .id = ids[i], .topics = subscriptions[i], .is_new = original_->member(ids[i]) == nullptr};
    if (m.instance) member.instance = *m.instance;
    if (const auto at = g.targets.find(ids[i]); at != g.targets.end())
      member.assigned = at->second.get();
    spec.members.push_back(member);
  }
  const auto named = assignor::kind(g.preferred_assignor(*original_).value_or(""));
  const auto found =
      assignor::assign(named.value_or(draft_.settings.default_assignor()), spec, topics);
  for (const uint32_t i : found.order) {
    const auto known = g.targets.find(ids[i]);
    if (known != g.targets.end() && contents(*known->second) == contents(found.assignments[i]))
      continue;
    put_target(ids[i], found.assignments[i]);
  }
  put_target_epoch(g.epoch, draft_.now.wall);
}

void ConsumerEdit::update_target() {
  const ConsumerGroup& g = group();
  if (g.epoch <= g.assignment_epoch) return;
  const int64_t interval =
      group_setting(draft_, id_, metadata::GroupKey::kConsumerAssignmentIntervalMs,
                    draft_.settings.consumer_assignment_interval_ms);
  const int64_t now = draft_.now.wall.value;
  const int64_t then = g.assigned_at.value;
  // 0: there was none yet. A clock that was set back must not hold it up.
  if (then != 0 && then <= now && now - then < interval) return;
  compute_target();
}

void ConsumerEdit::drop_unused_regexes() {
  if (group().regexes.empty()) return;
  const auto used = group().expressions();
  std::vector<std::string> unused;
  for (const auto& [expression, r] : group().regexes) {
    if (!used.contains(expression)) unused.push_back(expression);
  }
  for (const std::string& expression : unused) remove_regex(expression);
}

bool ConsumerEdit::refresh_regexes() {
  const auto expressions = group().expressions();
  if (expressions.empty()) return false;
  std::vector<std::string> unresolved;
  std::vector<std::string> all;
  int64_t version = INT64_MAX;
  int64_t last = 0;
  for (const auto& [expression, count] : expressions) {
    all.emplace_back(expression);
    const auto at = group().regexes.find(expression);
    if (at == group().regexes.end()) {
      unresolved.emplace_back(expression);
    } else {
      version = std::min(version, at->second.version);
      last = std::max(last, at->second.at.value);
    }
  }
  const int64_t now = draft_.now.wall.value;
  const bool old = version < draft_.state.topics_added_at() ||
                   now > last + draft_.settings.regex_refresh_interval.value;
  const bool refresh = all.size() > unresolved.size() && old && now > last + kRegexRefreshMinMs;
  if (!refresh && unresolved.empty()) return false;
  bool changed = false;
  for (auto& [expression, topics] : resolve_regexes(refresh ? all : unresolved, image())) {
    const auto at = group().regexes.find(expression);
    const bool same = at != group().regexes.end() && at->second.topics == topics;
    changed |= !same && !(at == group().regexes.end() && topics.empty());
    put_regex(expression, {.topics = std::move(topics),
                           .version = image().provenance.offset.value,
                           .at = draft_.now.wall});
  }
  return changed;
}

void ConsumerEdit::drop_members(const std::vector<std::string>& members) {
  for (const std::string& id : members) {
    remove_member(id);
    disarm_all(id);
  }
  drop_unused_regexes();
  bump(true);
}

ConsumerMember ConsumerEdit::replace_static(const ConsumerMember& old, const std::string& new_id) {
  ConsumerMember member = old;
  Target target = group().target(old.id);
  member.id = new_id;
  member.epoch = 0;
  member.previous_epoch = 0;
  const std::string old_id = old.id;
  remove_member(old_id);
  if (old_id != new_id) disarm_all(old_id);
  put_member(member);
  put_target(new_id, std::move(target));
  put_assignment(member);
  return member;
}

// ---- timers

void ConsumerEdit::arm_session(const ConsumerMember& member) {
  const int32_t own = group_setting(draft_, id_, metadata::GroupKey::kConsumerSessionTimeoutMs,
                                    draft_.settings.consumer_session_timeout_ms);
  arm(session_timer(id_, member.id), member.classic ? member.classic->session_timeout_ms : own);
}

void ConsumerEdit::arm_rebalance(const ConsumerMember& member) {
  if (member.state == MemberState::kUnrevoked) {
    arm(rebalance_timer(id_, member.id), member.rebalance_timeout_ms);
  } else {
    disarm(rebalance_timer(id_, member.id));
  }
}

void ConsumerEdit::disarm_all(std::string_view member) {
  disarm(session_timer(id_, member));
  disarm(rebalance_timer(id_, member));
  disarm(member_join_timer(id_, member));
  disarm(member_sync_timer(id_, member));
}

void ConsumerEdit::finish() {
  for (Record& r : records_) draft_.records.push_back(std::move(r));
  for (TimerOrder& t : timers_) draft_.timers.push_back(std::move(t));
  for (Message& m : messages_) draft_.messages.push_back(std::move(m));
  if (checked_) draft_.records.push_back({SoftChecked{id_, draft_.state.metadata_version()}});
}

}  // namespace odradek::machines::group
