// DescribeTransactions and ListTransactions.
#include <algorithm>

#include "machines/txn/draft.h"

namespace odradek::machines::txn {

DescribeAnswer describe(const Draft& draft, const Describe& c) {
  DescribeAnswer answer;
  for (const std::string& id : c.ids) {
    const Transaction* t = draft.state.find(id);
    auto& out = answer.transactions.emplace_back();
    if (t == nullptr) {
      out.error = ErrorCode::kTransactionalIdNotFound;
      continue;
    }
    out = {.state = std::string(name(t->status)),
           .timeout_ms = t->timeout_ms,
           .started_ms = t->started_ms,
           .producer = t->producer,
           .epoch = t->epoch,
           .partitions = {t->partitions.begin(), t->partitions.end()}};
  }
  return answer;
}

ListAnswer list(const Draft& draft, const List& c) {
  const auto matches = [](const auto& filter, const auto& value) {
    return filter.empty() || std::ranges::count(filter, value) > 0;
  };
  ListAnswer answer;
  for (const auto& [id, t] : draft.state.transactions()) {
    if (!matches(c.states, name(t.status)) || !matches(c.producers, t.producer)) continue;
    int64_t age = 0;
    const bool far = __builtin_sub_overflow(draft.now.wall.value, t.started_ms, &age);
    if (c.duration.value >= 0 && !far && age <= c.duration.value) continue;
    answer.transactions.push_back({id, t.producer, std::string(name(t.status))});
  }
  return answer;
}

}  // namespace odradek::machines::txn
