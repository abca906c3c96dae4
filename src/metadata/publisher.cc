#include "metadata/publisher.h"

#include <utility>

namespace odradek::metadata {

Publisher::Publisher(Post home, ImagePtr first)
    : home_(std::move(home)),
      current_(first ? std::move(first) : std::make_shared<const Image>()),
      alive_(std::make_shared<bool>(true)) {}

Publisher::~Publisher() { *alive_ = false; }

void Publisher::subscribe(Post post, Sink sink) {
  subscribers_.push_back({std::move(post), std::make_shared<Sink>(std::move(sink))});
}

void Publisher::publish(Publication p, std::move_only_function<void()> everyone) {
  current_ = p.image;
  if (!everyone) {
    for (const Subscriber& s : subscribers_) s.post([sink = s.sink, p] { (*sink)(p); });
    return;
  }
  if (subscribers_.empty()) {
    everyone();
    return;
  }
  // Counted down on the home loop only.
  struct Round {
    size_t left;
    std::move_only_function<void()> done;
  };
  auto round = std::make_shared<Round>(Round{subscribers_.size(), std::move(everyone)});
  for (const Subscriber& s : subscribers_) {
    s.post([sink = s.sink, p, home = home_, round, alive = alive_]() mutable {
      (*sink)(p);
      home([round = std::move(round), alive = std::move(alive)] {
        if (--round->left == 0 && *alive) round->done();
      });
    });
  }
}

}  // namespace odradek::metadata
