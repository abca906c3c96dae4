// franz-go against the broker under test (BROKER, BROKER_KIND): records, groups of both protocols, transactions, and loops that read,
// process and write exactly once. Prints PASS or FAIL and the name for each case.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	address = envOr("BROKER", "127.0.0.1:9092")
	run     = fmt.Sprintf("%x", time.Now().UnixNano())
	made    int
)

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	cases := []struct {
		name string
		body func(context.Context)
	}{
		{"produced_and_consumed", producedAndConsumed}, {"codecs", eachCodec},
		{"classic_group", classicGroup}, {"consumer_group", consumerGroup}, {"admin", admin},
		{"committed_and_aborted", committedAndAborted}, {"an_older_producer_is_fenced", fenced},
		{"read_process_write", func(ctx context.Context) { readProcessWrite(ctx) }},
		{"read_process_write_in_a_consumer_group", func(ctx context.Context) { readProcessWrite(ctx, kgo.ServerSideBalancer()) }},
	}
	failed := 0
	for _, c := range cases {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], c.name) {
			continue
		}
		if !outcome(c.name, c.body) {
			failed++
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// outcome runs one case; a case fails by panicking.
func outcome(name string, body func(context.Context)) (passed bool) {
	began := time.Now()
	defer func() {
		if problem := recover(); problem != nil {
			fmt.Printf("FAIL %s: %s\n", name, strings.Join(strings.Fields(fmt.Sprint(problem)), " "))
			return
		}
		fmt.Printf("PASS %s (%.1f s)\n", name, time.Since(began).Seconds())
		passed = true
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	body(ctx)
	return
}

func must(err error, what string) {
	if err != nil {
		panic(fmt.Sprintf("%s: %v", what, err))
	}
}

func want(got, expected any, what string) {
	if g, e := fmt.Sprintf("%v", got), fmt.Sprintf("%v", expected); g != e {
		panic(fmt.Sprintf("%s: got %.300s, want %.300s", what, g, e))
	}
}

func newName(stem string) string {
	made++
	return fmt.Sprintf("franz-%s-%s-%d", stem, run, made)
}

func newClient(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(address)}, options...)...)
	must(err, "NewClient")
	return client
}

func makeTopic(ctx context.Context, stem string, partitions int32) string {
	client := newClient()
	defer client.Close()
	name := newName(stem)
	made, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, name)
	must(err, "CreateTopic")
	must(made.Err, "CreateTopic")
	return name
}

func numbered(topic, stem string, count int) []*kgo.Record {
	var records []*kgo.Record
	for i := range count {
		value := fmt.Sprintf("%s-%d", stem, i)
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(value), Value: []byte(value)})
	}
	return records
}

func values(records []*kgo.Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, string(r.Value))
	}
	sort.Strings(all)
	return all
}

// consume reads until there are so many records, and a little longer: more must not come.
func consume(ctx context.Context, count int, options ...kgo.Opt) []*kgo.Record {
	client := newClient(append(options, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	defer client.Close()
	return poll(ctx, client, count)
}

func poll(ctx context.Context, client *kgo.Client, count int) []*kgo.Record {
	var all []*kgo.Record
	take := func(ctx context.Context) {
		for _, r := range client.PollFetches(ctx).Records() {
			all = append(all, r)
		}
	}
	for len(all) < count {
		must(ctx.Err(), fmt.Sprintf("%d of %d records", len(all), count))
		take(ctx)
	}
	more, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	take(more)
	return all
}

func producedAndConsumed(ctx context.Context) {
	topic := makeTopic(ctx, "plain", 3)
	client := newClient()
	defer client.Close()
	sent := numbered(topic, "r", 100)
	sent[0].Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}
	must(client.ProduceSync(ctx, sent...).FirstErr(), "ProduceSync")
	got := consume(ctx, 100, kgo.ConsumeTopics(topic))
	want(values(got), values(sent), "values")
	headers := 0
	for _, r := range got {
		headers += len(r.Headers)
	}
	want(headers, 1, "headers")
}

func eachCodec(ctx context.Context) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(),
		kgo.ZstdCompression()} {
		topic := makeTopic(ctx, "codec", 1)
		client := newClient(kgo.ProducerBatchCompression(codec))
		sent := numbered(topic, strings.Repeat("compressible", 20), 50)
		must(client.ProduceSync(ctx, sent...).FirstErr(), "ProduceSync")
		client.Close()
		want(values(consume(ctx, 50, kgo.ConsumeTopics(topic))), values(sent), "values")
	}
}

// inGroup reads, commits and leaves; who comes next goes on from there.
func inGroup(ctx context.Context, options ...kgo.Opt) {
	topic, group := makeTopic(ctx, "group", 4), newName("group")
	client := newClient()
	defer client.Close()
	for round := range 2 {
		sent := numbered(topic, fmt.Sprintf("round%d", round), 40)
		must(client.ProduceSync(ctx, sent...).FirstErr(), "ProduceSync")
		member := newClient(append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		want(values(poll(ctx, member, 40)), values(sent), "values")
		must(member.CommitUncommittedOffsets(ctx), "commit")
		member.Close()
	}
	committed, err := kadm.NewClient(client).FetchOffsets(ctx, group)
	must(err, "FetchOffsets")
	total := int64(0)
	committed.Each(func(o kadm.OffsetResponse) { total += o.At })
	want(total, 80, "committed offsets")
}

func classicGroup(ctx context.Context) {
	inGroup(ctx)
	inGroup(ctx, kgo.Balancers(kgo.RangeBalancer()), kgo.InstanceID("static"))
}
func consumerGroup(ctx context.Context) { inGroup(ctx, kgo.ServerSideBalancer()) }

func admin(ctx context.Context) {
	topic := makeTopic(ctx, "admin", 2)
	client := newClient()
	defer client.Close()
	tool := kadm.NewClient(client)
	must(client.ProduceSync(ctx, numbered(topic, "r", 10)...).FirstErr(), "ProduceSync")
	ends, err := tool.ListEndOffsets(ctx, topic)
	must(err, "ListEndOffsets")
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	want(total, 10, "end offsets")
	details, err := tool.ListTopics(ctx, topic)
	must(err, "ListTopics")
	want(len(details[topic].Partitions), 2, "partitions")
	_, err = tool.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1234567")}}, topic)
	must(err, "AlterTopicConfigs")
	configs, err := tool.DescribeTopicConfigs(ctx, topic)
	must(err, "DescribeTopicConfigs")
	found := ""
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" {
			found = c.MaybeValue()
		}
	}
	want(found, "1234567", "retention.ms")
}

// ---- transactions

func committedAndAborted(ctx context.Context) {
	topic := makeTopic(ctx, "txn", 3)
	client := newClient(kgo.TransactionalID(newName("id")))
	defer client.Close()
	var committed []*kgo.Record
	for n := range 12 {
		must(client.BeginTransaction(), "begin")
		records := numbered(topic, fmt.Sprintf("txn%d", n), 10)
		if n%5 != 4 { // some are empty
			must(client.ProduceSync(ctx, records...).FirstErr(), "ProduceSync")
		}
		commit := kgo.TransactionEndTry(n%2 == 0)
		must(client.EndTransaction(ctx, commit), "end")
		if n%5 != 4 && bool(commit) {
			committed = append(committed, records...)
		}
	}
	stable := kgo.FetchIsolationLevel(kgo.ReadCommitted())
	want(values(consume(ctx, len(committed), kgo.ConsumeTopics(topic), stable)), values(committed), "committed")
}

func fenced(ctx context.Context) {
	topic, id := makeTopic(ctx, "fenced", 1), newName("id")
	older := newClient(kgo.TransactionalID(id))
	defer older.Close()
	must(older.BeginTransaction(), "begin")
	must(older.ProduceSync(ctx, numbered(topic, "lost", 1)...).FirstErr(), "ProduceSync")
	newer := newClient(kgo.TransactionalID(id))
	defer newer.Close()
	must(newer.BeginTransaction(), "begin")
	kept := numbered(topic, "kept", 1)
	must(newer.ProduceSync(ctx, kept...).FirstErr(), "ProduceSync")
	must(newer.EndTransaction(ctx, kgo.TryCommit), "end")
	err := older.ProduceSync(ctx, numbered(topic, "zombie", 1)...).FirstErr()
	if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		panic(fmt.Sprintf("the older producer was not fenced: %v", err))
	}
	stable := kgo.FetchIsolationLevel(kgo.ReadCommitted())
	want(values(consume(ctx, 1, kgo.ConsumeTopics(topic), stable)), values(kept), "committed")
}

// readProcessWrite copies a topic in transactions, positions and all; some are aborted, and the copier begins anew on the way.
func readProcessWrite(ctx context.Context, options ...kgo.Opt) {
	from, to, group, id := makeTopic(ctx, "from", 3), makeTopic(ctx, "to", 3), newName("group"), newName("id")
	client := newClient()
	defer client.Close()
	sent := numbered(from, "r", 300)
	must(client.ProduceSync(ctx, sent...).FirstErr(), "ProduceSync")
	copied, ends := 0, 0
	for life := 0; copied < 300; life++ {
		session, err := kgo.NewGroupTransactSession(append(options, kgo.SeedBrokers(address), kgo.TransactionalID(id), kgo.ConsumerGroup(group),
			kgo.ConsumeTopics(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		must(err, "NewGroupTransactSession")
		for copied < 300 && (life > 0 || copied < 100) {
			must(ctx.Err(), fmt.Sprintf("copied %d", copied))
			records := session.PollRecords(ctx, 20).Records()
			must(session.Begin(), "begin")
			for _, r := range records {
				session.Produce(ctx, &kgo.Record{Topic: to, Key: r.Key, Value: r.Value}, nil)
			}
			ends++
			committed, err := session.End(ctx, kgo.TransactionEndTry(ends%4 != 2))
			must(err, "end")
			if committed {
				copied += len(records)
			}
		}
		session.Close()
	}
	stable := kgo.FetchIsolationLevel(kgo.ReadCommitted())
	want(values(consume(ctx, 300, kgo.ConsumeTopics(to), stable)), values(sent), "copies")
}
