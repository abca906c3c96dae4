// segmentio/kafka-go against the broker under test (BROKER, BROKER_KIND): Writer, partition Reader, Conn and the admin
// calls of Client. Prints PASS or FAIL and the name for each case.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	large      = 10 << 20
	largeLimit = large + 1<<20
)

var (
	address = envOr("BROKER", "127.0.0.1:9092")
	apache  = os.Getenv("BROKER_KIND") == "apache"
	client  = &kafka.Client{Addr: kafka.TCP(address), Timeout: 20 * time.Second}
	run     = fmt.Sprintf("%x", time.Now().UnixNano())
	made    int
	codecs  = []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
)

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

type entry struct {
	name string
	body func(context.Context)
}

func main() {
	cases := []entry{
		{"writer_and_partition_reader", writerAndReader}, {"acks", acks}, {"codecs", eachCodec},
		{"headers_and_nulls", headersAndNulls}, {"ten_mib_records", tenMib}, {"record_above_the_limit", aboveLimit},
		{"timestamps", timestamps}, {"reader_seeks", readerSeeks}, {"reader_waits_for_records", readerWaits},
		{"hash_balancers", balancers}, {"conn_write_and_read_batch", connection}, {"conn_topics", connTopics},
		{"raw_fetch_and_produce", rawCalls}, {"topics", topics}, {"partitions_added", partitionsAdded},
		{"configs", configs}, {"offsets_listed", offsetsListed}, {"cluster_and_versions", cluster},
		{"leader_election", election}, {"producer_id", producerID}, {"group_reader", groupReader},
	}
	wanted, failed := os.Args[1:], 0
	for _, c := range cases {
		if len(wanted) > 0 && !contains(wanted, c.name) {
			continue
		}
		if !outcome(c) {
			failed++
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func contains(list []string, text string) bool {
	for _, item := range list {
		if item == text {
			return true
		}
	}
	return false
}

// outcome runs one case; a case fails by panicking.
func outcome(c entry) (passed bool) {
	began := time.Now()
	defer func() {
		if problem := recover(); problem != nil {
			fmt.Printf("FAIL %s: %s\n", c.name, strings.Join(strings.Fields(fmt.Sprint(problem)), " "))
			return
		}
		fmt.Printf("PASS %s (%.1f s)\n", c.name, time.Since(began).Seconds())
		passed = true
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c.body(ctx)
	return
}

func fail(format string, args ...interface{}) { panic(fmt.Sprintf(format, args...)) }

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func want(got, expected interface{}, what string) {
	if g, e := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", expected); g != e {
		fail("%s: got %.300s, want %.300s", what, g, e)
	}
}

func wantError(err, expected error, what string) {
	if !errors.Is(err, expected) {
		fail("%s: got error %v, want %v", what, err, expected)
	}
}

func eventually(what string, check func() bool) {
	for end := time.Now().Add(10 * time.Second); !check(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			fail("not within 10 s: %s", what)
		}
	}
}

func newName(stem string) string {
	made++
	return fmt.Sprintf("go-%s-%s-%d", stem, run, made)
}

func makeTopic(ctx context.Context, stem string, partitions int, pairs ...string) string {
	config := kafka.TopicConfig{Topic: newName(stem), NumPartitions: partitions, ReplicationFactor: 1}
	for i := 0; i < len(pairs); i += 2 {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: pairs[i], ConfigValue: pairs[i+1]})
	}
	answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	must(err, "CreateTopics")
	must(answer.Errors[config.Topic], "CreateTopics "+config.Topic)
	eventually("the new topic is listed", func() bool { return exists(ctx, config.Topic) })
	return config.Topic
}

func exists(ctx context.Context, topic string) bool {
	answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	must(err, "Metadata")
	return answer.Topics[0].Error == nil && len(answer.Topics[0].Partitions) > 0
}

func newWriter(topic string) *kafka.Writer {
	return &kafka.Writer{Addr: kafka.TCP(address), Topic: topic, RequiredAcks: kafka.RequireAll, MaxAttempts: 3,
		BatchTimeout: 10 * time.Millisecond, BatchSize: 1000, BatchBytes: largeLimit}
}

func write(ctx context.Context, w *kafka.Writer, messages ...kafka.Message) {
	must(w.WriteMessages(ctx, messages...), "WriteMessages")
	must(w.Close(), "close")
}

func read(ctx context.Context, topic string, partition, count int, offset int64) []kafka.Message {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, Partition: partition,
		MaxBytes: largeLimit, MaxWait: 500 * time.Millisecond})
	defer r.Close()
	must(r.SetOffset(offset), "SetOffset")
	var found []kafka.Message
	for len(found) < count {
		message, err := r.ReadMessage(ctx)
		must(err, fmt.Sprintf("ReadMessage after %d", len(found)))
		found = append(found, message)
	}
	return found
}

func numbered(count int, format string) []kafka.Message {
	var list []kafka.Message
	for i := 0; i < count; i++ {
		list = append(list, kafka.Message{Key: []byte(fmt.Sprintf("k%d", i)), Value: []byte(fmt.Sprintf(format, i))})
	}
	return list
}

func sameValues(got, expected []kafka.Message, what string) {
	want(len(got), len(expected), what+": count")
	for i := range got {
		if !bytes.Equal(got[i].Value, expected[i].Value) || !bytes.Equal(got[i].Key, expected[i].Key) {
			fail("%s: record %d is %q=%.60q, want %q=%.60q", what, i, got[i].Key, got[i].Value, expected[i].Key,
				expected[i].Value)
		}
	}
}

func writerAndReader(ctx context.Context) {
	topic, sent := makeTopic(ctx, "basic", 1), numbered(2000, "v%d")
	write(ctx, newWriter(topic), sent...)
	found := read(ctx, topic, 0, len(sent), kafka.FirstOffset)
	sameValues(found, sent, "records")
	for i, m := range found {
		want(m.Offset, int64(i), "offset")
	}
	want(found[0].HighWaterMark, int64(2000), "high watermark")
}

func acks(ctx context.Context) {
	topic := makeTopic(ctx, "acks", 1)
	for _, level := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		w := newWriter(topic)
		w.RequiredAcks = level
		write(ctx, w, kafka.Message{Value: []byte(level.String())})
	}
	found := read(ctx, topic, 0, 3, kafka.FirstOffset)
	want(string(found[0].Value)+string(found[1].Value)+string(found[2].Value), "noneoneall", "values")
}

func eachCodec(ctx context.Context) {
	for _, codec := range codecs {
		topic, sent := makeTopic(ctx, "codec", 1), numbered(300, "%d"+strings.Repeat("x", 500))
		w := newWriter(topic)
		w.Compression = codec
		write(ctx, w, sent...)
		sameValues(read(ctx, topic, 0, len(sent), kafka.FirstOffset), sent, codec.String())
	}
}

func headersAndNulls(ctx context.Context) {
	topic := makeTopic(ctx, "headers", 1)
	headers := []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "ключ", Value: []byte{0, 255}}}
	write(ctx, newWriter(topic), kafka.Message{Value: []byte("v"), Headers: headers}, kafka.Message{Key: []byte("k")})
	found := read(ctx, topic, 0, 2, kafka.FirstOffset)
	want(found[0].Headers, headers, "headers")
	want(found[0].Key == nil, true, "null key")
	want(found[1].Value == nil, true, "null value")
}

func tenMib(ctx context.Context) {
	topic := makeTopic(ctx, "large", 1, "max.message.bytes", fmt.Sprint(largeLimit))
	value := make([]byte, large)
	for i := range value {
		value[i] = byte(i ^ (i>>8)*31)
	}
	for i, codec := range []kafka.Compression{0, kafka.Snappy} {
		w := newWriter(topic)
		w.Compression = codec
		write(ctx, w, kafka.Message{Value: value})
		want(bytes.Equal(read(ctx, topic, 0, 1, int64(i))[0].Value, value), true, "the value unchanged")
	}
}

func aboveLimit(ctx context.Context) {
	topic := makeTopic(ctx, "limit", 1, "max.message.bytes", "1000")
	w := newWriter(topic)
	err := w.WriteMessages(ctx, kafka.Message{Value: make([]byte, 2000)})
	var each kafka.WriteErrors
	if errors.As(err, &each) {
		err = each[0]
	}
	wantError(err, kafka.MessageSizeTooLarge, "a record above the limit")
}

// timestamps leaves out LogAppendTime: this client reads a batch's first timestamp whatever its attributes say.
func timestamps(ctx context.Context) {
	topic := makeTopic(ctx, "time", 1)
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	write(ctx, newWriter(topic), kafka.Message{Value: []byte("x"), Time: at(1000)}, kafka.Message{Value: []byte("x"), Time: at(3000)})
	found := read(ctx, topic, 0, 2, kafka.FirstOffset)
	want([]int64{found[0].Time.UnixMilli(), found[1].Time.UnixMilli()}, []int64{1000, 3000}, "create times")
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic})
	defer r.Close()
	must(r.SetOffsetAt(ctx, at(2000)), "SetOffsetAt")
	want(r.Offset(), int64(1), "offset for a time")
}

func readerSeeks(ctx context.Context) {
	topic, sent := makeTopic(ctx, "seek", 1), numbered(20, "%d")
	write(ctx, newWriter(topic), sent...)
	sameValues(read(ctx, topic, 0, 5, 15), sent[15:], "from the middle")
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic})
	defer r.Close()
	must(r.SetOffset(kafka.FirstOffset), "SetOffset")
	lag, err := r.ReadLag(ctx)
	must(err, "ReadLag")
	want(lag, int64(20), "lag")
}

func readerWaits(ctx context.Context) {
	topic := makeTopic(ctx, "wait", 1)
	go func() {
		time.Sleep(time.Second)
		_ = newWriter(topic).WriteMessages(ctx, kafka.Message{Value: []byte("late")})
	}()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, MinBytes: 1, MaxBytes: 1 << 20,
		MaxWait: 5 * time.Second})
	defer r.Close()
	began := time.Now()
	message, err := r.ReadMessage(ctx)
	must(err, "ReadMessage")
	want(string(message.Value), "late", "value")
	if waited := time.Since(began); waited > 3*time.Second {
		fail("a waiting fetch was answered after %v", waited)
	}
}

func balancers(ctx context.Context) {
	topic, sent := makeTopic(ctx, "hash", 3), numbered(300, "%d")
	w := newWriter(topic)
	w.Balancer = kafka.Murmur2Balancer{Consistent: true}
	write(ctx, w, sent...)
	answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2)}}})
	must(err, "ListOffsets")
	total := int64(0)
	for _, p := range answer.Topics[topic] {
		must(p.Error, "ListOffsets")
		total += p.LastOffset
	}
	want(total, int64(300), "records in all partitions")
}

func connection(ctx context.Context) {
	topic := makeTopic(ctx, "conn", 1)
	conn, err := kafka.DialLeader(ctx, "tcp", address, topic, 0)
	must(err, "DialLeader")
	defer conn.Close()
	must(conn.SetDeadline(time.Now().Add(10*time.Second)), "SetDeadline")
	_, err = conn.WriteMessages(numbered(50, "%d")...)
	must(err, "WriteMessages")
	_, partition, offset, _, err := conn.WriteCompressedMessagesAt(kafka.Gzip.Codec(), numbered(50, "%d")...)
	must(err, "WriteCompressedMessagesAt")
	want([]int64{int64(partition), offset}, []int64{0, 50}, "where it was written")
	first, last, err := conn.ReadOffsets()
	must(err, "ReadOffsets")
	want([]int64{first, last}, []int64{0, 100}, "offsets")
	_, err = conn.Seek(0, kafka.SeekAbsolute)
	must(err, "Seek")
	batch := conn.ReadBatch(1, 1<<20)
	message, err := batch.ReadMessage()
	must(err, "ReadMessage")
	want(string(message.Value), "0", "first value")
	must(batch.Close(), "close")
}

// connTopics leaves out Conn's CreateTopics and DeleteTopics: they send versions that Apache Kafka 4 does not serve.
func connTopics(ctx context.Context) {
	conn, err := kafka.Dial("tcp", address)
	must(err, "Dial")
	defer conn.Close()
	topic := makeTopic(ctx, "conntopic", 2)
	eventually("two partitions", func() bool {
		parts, err := conn.ReadPartitions(topic)
		return err == nil && len(parts) == 2 && parts[0].Leader.ID == 1
	})
	controller, err := conn.Controller()
	must(err, "Controller")
	want(controller.ID, 1, "controller")
}

func rawCalls(ctx context.Context) {
	topic := makeTopic(ctx, "raw", 1)
	answer, err := client.Produce(ctx, &kafka.ProduceRequest{Topic: topic, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("a"))}, kafka.Record{Value: kafka.NewBytes([]byte("b"))})})
	must(err, "Produce")
	must(answer.Error, "Produce")
	want(answer.BaseOffset, int64(0), "base offset")
	fetched, err := client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Offset: 0, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	must(err, "Fetch")
	must(fetched.Error, "Fetch")
	want([]int64{fetched.HighWatermark, fetched.LastStableOffset, fetched.LogStartOffset}, []int64{2, 2, 0}, "offsets")
	_, err = fetched.Records.ReadRecord()
	must(err, "ReadRecord")
	beyond, err := client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Offset: 99, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	must(err, "Fetch")
	wantError(beyond.Error, kafka.OffsetOutOfRange, "fetch beyond the end")
}

func topics(ctx context.Context) {
	topic := makeTopic(ctx, "admin", 3)
	create := func(config kafka.TopicConfig) error {
		answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
		must(err, "CreateTopics")
		return answer.Errors[config.Topic]
	}
	wantError(create(kafka.TopicConfig{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}), kafka.TopicAlreadyExists, "again")
	wantError(create(kafka.TopicConfig{Topic: "bad name", NumPartitions: 1, ReplicationFactor: 1}), kafka.InvalidTopic, "name")
	wantError(create(kafka.TopicConfig{Topic: newName("rf"), NumPartitions: 1, ReplicationFactor: 2}),
		kafka.InvalidReplicationFactor, "replication factor")
	manual := newName("manual")
	must(create(kafka.TopicConfig{Topic: manual, NumPartitions: -1, ReplicationFactor: -1,
		ReplicaAssignments: []kafka.ReplicaAssignment{{Partition: 0, Replicas: []int{1}}}}), "assigned by hand")
	answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic, newName("none")}})
	must(err, "DeleteTopics")
	must(answer.Errors[topic], "DeleteTopics")
	for name, problem := range answer.Errors {
		if name != topic {
			wantError(problem, kafka.UnknownTopicOrPartition, "delete of an unknown topic")
		}
	}
	eventually("the topic goes", func() bool { return !exists(ctx, topic) })
}

func partitionsAdded(ctx context.Context) {
	topic := makeTopic(ctx, "grow", 2)
	grow := func(count int32) error {
		answer, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: count}}})
		must(err, "CreatePartitions")
		return answer.Errors[topic]
	}
	must(grow(4), "CreatePartitions")
	eventually("four partitions", func() bool {
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		must(err, "Metadata")
		return len(answer.Topics[0].Partitions) == 4
	})
	wantError(grow(1), kafka.InvalidPartitionNumber, "fewer partitions")
}

func configValue(ctx context.Context, topic, name string) string {
	answer, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{IncludeSynonyms: true, Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name}}}})
	must(err, "DescribeConfigs")
	must(answer.Resources[0].Error, "DescribeConfigs")
	want(len(answer.Resources[0].ConfigEntries), 1, "entries")
	return answer.Resources[0].ConfigEntries[0].ConfigValue
}

func configs(ctx context.Context) {
	topic := makeTopic(ctx, "config", 1, "retention.ms", "3600000")
	want(configValue(ctx, topic, "retention.ms"), "3600000", "as created")
	answer, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: "retention.ms", Value: "7200000", ConfigOperation: kafka.ConfigOperationSet},
				{Name: "cleanup.policy", Value: "compact", ConfigOperation: kafka.ConfigOperationAppend}}}}})
	must(err, "IncrementalAlterConfigs")
	must(answer.Resources[0].Error, "IncrementalAlterConfigs")
	want(configValue(ctx, topic, "retention.ms"), "7200000", "set")
	want(configValue(ctx, topic, "cleanup.policy"), "delete,compact", "appended")
	_, err = client.AlterConfigs(ctx, &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.AlterConfigRequestConfig{{Name: "segment.bytes", Value: "2000000"}}}}})
	must(err, "AlterConfigs")
	want(configValue(ctx, topic, "segment.bytes"), "2000000", "replaced")
	want(configValue(ctx, topic, "retention.ms"), "604800000", "reset by the replacement")
}

func offsetsListed(ctx context.Context) {
	topic := makeTopic(ctx, "offsets", 1)
	write(ctx, newWriter(topic), numbered(9, "%d")...)
	answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}, IsolationLevel: kafka.ReadCommitted})
	must(err, "ListOffsets")
	got := answer.Topics[topic][0]
	want([]int64{got.FirstOffset, got.LastOffset}, []int64{0, 9}, "offsets")
}

func cluster(ctx context.Context) {
	answer, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	must(err, "Metadata")
	want([]int{len(answer.Brokers), answer.Brokers[0].ID, answer.Controller.ID}, []int{1, 1, 1}, "brokers")
	want(fmt.Sprintf("%s:%d", answer.Brokers[0].Host, answer.Brokers[0].Port), address, "address")
	want(len(answer.ClusterID), 22, "length of the cluster id")
	versions, err := client.ApiVersions(ctx, &kafka.ApiVersionsRequest{})
	must(err, "ApiVersions")
	must(versions.Error, "ApiVersions")
	keys := []int{}
	for _, api := range versions.ApiKeys {
		keys = append(keys, api.ApiKey)
	}
	sort.Ints(keys)
	want(keys[:4], []int{0, 1, 2, 3}, "first API keys")
}

func election(ctx context.Context) {
	topic := makeTopic(ctx, "elect", 1)
	answer, err := client.ElectLeaders(ctx, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{0}, Timeout: 5 * time.Second})
	must(err, "ElectLeaders")
	must(answer.Error, "ElectLeaders")
	wantError(answer.PartitionResults[0].Error, kafka.ElectionNotNeeded, "election")
}

func producerID(ctx context.Context) {
	seen := map[int]bool{}
	for i := 0; i < 3; i++ {
		var answer *kafka.InitProducerIDResponse
		eventually("a producer id", func() bool { // the first block of ids may not have come yet
			var err error
			answer, err = client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionTimeoutMs: 10000})
			must(err, "InitProducerID")
			if errors.Is(answer.Error, kafka.GroupLoadInProgress) {
				return false
			}
			must(answer.Error, "InitProducerID")
			return true
		})
		want(answer.Producer.ProducerEpoch, 0, "epoch")
		seen[answer.Producer.ProducerID] = true
	}
	want(len(seen), 3, "different producer ids")
}

// groupReader reads in a group, and once more: the second reader goes on where the first stopped.
func groupReader(ctx context.Context) {
	topic := makeTopic(ctx, "group", 1)
	write(ctx, newWriter(topic), numbered(5, "%d")...)
	group := newName("group")
	for from := 0; from < 5; from += 3 {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, GroupID: group,
			StartOffset: kafka.FirstOffset, MaxWait: time.Second})
		for i := from; i < from+3 && i < 5; i++ {
			m, err := r.ReadMessage(ctx)
			must(err, "ReadMessage in a group")
			want(int(m.Offset), i, "offset")
		}
		must(r.Close(), "close")
	}
}
